"""Write ten handwritten digits, one of each class, as PNG files: something to give to `tench predict`.

Usage: python digit_pictures.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    for label in range(10):
        number = int(np.flatnonzero(digits.target == label)[-1])
        pixels = np.rint(digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"digit-{label}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
