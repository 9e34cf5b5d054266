"""A plain PyTorch training loop on torch.utils.data.DataLoader.

    python dataloader_train.py                                  the handwritten digits
    python dataloader_train.py ~/flowers --image-size 160 --arch resnet50

tench reads a dataset in any layout. dataset.as_torch returns a split as a torch.utils.data.Dataset of (image, label).
The rest is PyTorch, with your own transforms, samplers and workers. (tench.loader in pytorch_train.py is faster.)
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import tench


class Transform:
    """Resize an image to a square and convert it to the network's input: (3, S, S) float32 in -1 to 1."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> torch.Tensor:
        pixels = np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR), np.float32)
        return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="digits", help="path of a dataset, or digits")
    parser.add_argument("--arch", default="resnet20", help="a network that `tench models` lists")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()

    dataset = tench.open_source(asked.source)
    if "val" not in dataset.splits:
        dataset = tench.open_source(asked.source, val_per_class=10)  # held out of train
    transform = Transform(asked.image_size)
    train = DataLoader(
        dataset.as_torch("train", transform), asked.batch_size, shuffle=True, drop_last=True, num_workers=asked.workers
    )
    val = DataLoader(dataset.as_torch("val", transform), asked.batch_size, num_workers=asked.workers)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = tench.create_model(asked.arch, dataset.classes, image_size=asked.image_size).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=asked.epochs * len(train))
    for epoch in range(asked.epochs):
        model.train()
        for images, labels in train:
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{asked.epochs}  val top-1 {top1(model, val, device):.2%}")


@torch.inference_mode()
def top1(model: nn.Module, val: DataLoader[tuple[torch.Tensor, int]], device: torch.device) -> float:
    """The fraction of correct answers."""
    model.eval()
    hits = [model(images.to(device)).argmax(1).cpu() == labels for images, labels in val]
    return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    main()
