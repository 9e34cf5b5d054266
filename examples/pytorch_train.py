"""A plain PyTorch training loop on tench's input.

    python pytorch_train.py                                     the handwritten digits
    python pytorch_train.py ~/flowers --arch resnet50 --epochs 30

tench.loader finds the images and labels, resizes and augments them as the recipe says, and yields the batches of an
epoch. The loop is yours: copy this file and change it.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

import tench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="digits", help="path of a dataset, or digits")
    parser.add_argument("--arch", help="a network that `tench models` lists; default: the recipe's")
    parser.add_argument("--recipe", help="a recipe that `tench recipes` lists, or a YAML file")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    asked = parser.parse_args()

    dataset = tench.open_source(asked.source)
    with (
        tench.loader(dataset, "train", asked.recipe, batch_size=asked.batch_size) as train,
        tench.loader(dataset, "val", asked.recipe, batch_size=asked.batch_size) as val,
    ):
        seen = train.recipe.input
        model = tench.create_model(
            asked.arch or train.recipe.model.arch, train.classes, image_size=seen.image_size, channels=seen.channels
        ).to(train.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=asked.epochs * len(train))
        for epoch in range(asked.epochs):
            model.train()
            for images, labels, _ in train.epoch(epoch):  # (B, C, H, W) uint8 and (B,) int64, on the device
                loss = F.cross_entropy(model(train.normalise(images)), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            print(f"epoch {epoch + 1}/{asked.epochs}  val top-1 {top1(model, val):.2%}")


@torch.inference_mode()
def top1(model: nn.Module, val: tench.BatchLoader) -> float:
    """The fraction of correct answers; each image is counted once."""
    model.eval()
    correct = sum((model(val.normalise(images)).argmax(1) == labels).sum().item() for images, labels, _ in val.epoch(0))
    return correct / val.num_images


if __name__ == "__main__":
    main()
