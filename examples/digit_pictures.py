"""Write ten held-out handwritten digits, one of each class, as PNG files. No training uses these images.

Usage: python digit_pictures.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import tench


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    held_out = tench.open_source("digits").splits["val"]
    for label in range(10):
        row = int(np.argmax(held_out.labels == label))
        pixels = np.frombuffer(held_out.read(row), np.uint8).reshape(8, 8)
        Image.fromarray(pixels).save(folder / f"digit-{label}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
