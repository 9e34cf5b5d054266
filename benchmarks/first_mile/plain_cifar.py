"""A plain PyTorch loop that trains resnet20 on the JPEG edition of CIFAR-10, without tench.

It is the reference for the packaged recipe `cifar-resnet`: the same files, network and hyper-parameters, in
straightforward code. Usage: python plain_cifar.py FOLDER [--epochs 30] [--seed 0] [--bf16] [--state FILE]
(with --state, a stopped training continues after the last complete epoch).
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

LR = 0.1
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs, eps=2e-5)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=2e-5)
        self.shortcut = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, eps=2e-5)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet20() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16, eps=2e-5)]
    width = 16
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        for unit in range(3):
            layers.append(Unit(width, filters, stride if unit == 0 else 1, project=unit == 0))
            width = filters
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def load(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = [], []
    for label, directory in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
        for path in sorted(directory.iterdir()):
            images.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def normalise(images: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images: torch.Tensor) -> torch.Tensor:
    """Pad by 4 black pixels, crop 32 x 32 at random, and flip half of the images. images: (B, 3, 32, 32) uint8."""
    padded = F.pad(images, (4, 4, 4, 4))
    out = torch.empty_like(images)
    for i in range(len(images)):
        top, left = torch.randint(0, 9, (2,)).tolist()
        crop = padded[i, :, top : top + 32, left : left + 32]
        out[i] = crop.flip(-1) if torch.rand(()) < 0.5 else crop
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--state", type=Path)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    train_images, train_labels = load(args.folder / "train")
    test_images, test_labels = load(args.folder / "test")
    model = resnet20().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batch = 64
    steps_per_epoch = len(train_images) // batch
    steps, warmup = args.epochs * steps_per_epoch, steps_per_epoch
    start, step, first_epoch = time.monotonic(), 0, 1
    if args.state and args.state.exists():
        state = torch.load(args.state, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        step, first_epoch = state["step"], state["epoch"] + 1
    for epoch in range(first_epoch, args.epochs + 1):
        model.train()
        order = torch.randperm(len(train_images))
        for i in range(steps_per_epoch):
            rows = order[i * batch : (i + 1) * batch]
            cosine = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
            lr = LR * ((step + 1) / warmup if step < warmup else cosine)
            for group in optimizer.param_groups:
                group["lr"] = lr
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                loss = F.cross_entropy(model(normalise(augment(train_images[rows]))), train_labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        model.eval()
        with torch.inference_mode():
            correct = sum(
                int((model(normalise(x)).argmax(1) == y).sum())
                for x, y in zip(test_images.split(500), test_labels.split(500), strict=True)
            )
        print(
            json.dumps(
                {
                    "epoch": epoch,
                    "loss": round(loss.item(), 4),
                    "top1": correct / len(test_labels),
                    "seconds": round(time.monotonic() - start, 1),
                }
            ),
            flush=True,
        )
        if args.state:
            parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
            torch.save({**parts, "step": step, "epoch": epoch}, args.state)


if __name__ == "__main__":
    main()
