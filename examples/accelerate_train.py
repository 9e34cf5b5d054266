"""Train with Hugging Face Accelerate on tench's input. Needs: pip install accelerate.

    python accelerate_train.py                                  the handwritten digits
    accelerate launch accelerate_train.py ~/flowers --arch resnet50 --epochs 30

Each process reads its share of every batch, so --batch-size is that of all processes together.
"""

import argparse

import torch
import torch.nn.functional as F
from accelerate import Accelerator

import tench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="digits", help="path of a dataset, or digits")
    parser.add_argument("--arch", help="a network that `tench models` lists; default: the recipe's")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    asked = parser.parse_args()

    accelerator = Accelerator()
    dataset = tench.open_source(asked.source)
    share = {"rank": accelerator.process_index, "world_size": accelerator.num_processes, "device": accelerator.device}
    with (
        tench.loader(dataset, "train", batch_size=asked.batch_size, **share) as train,
        tench.loader(dataset, "val", batch_size=asked.batch_size, **share) as val,
    ):
        seen = train.recipe.input
        model = tench.create_model(
            asked.arch or train.recipe.model.arch, train.classes, image_size=seen.image_size, channels=seen.channels
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=asked.epochs * len(train))
        model, optimizer = accelerator.prepare(model, optimizer)  # the loaders need no preparing
        for epoch in range(asked.epochs):
            model.train()
            for images, labels, _ in train.epoch(epoch):
                loss = F.cross_entropy(model(train.normalise(images)), labels)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
            model.eval()
            correct = torch.zeros((), device=accelerator.device)
            with torch.inference_mode():
                for images, labels, _ in val.epoch(0):
                    correct += (model(val.normalise(images)).argmax(1) == labels).sum()
            correct = accelerator.reduce(correct, "sum")
            accelerator.print(f"epoch {epoch + 1}/{asked.epochs}  val top-1 {correct.item() / val.num_images:.2%}")


if __name__ == "__main__":
    main()
