"""Measure how a recipe's three values of `decode` change the time and the pixels of training views.

Each photograph is cropped in several epochs with the random numbers of training. A view made with `reduced` or `fast`
is compared with the one made with `full`, pixel by pixel. `reduced` affects only parts at least twice as large as the
view, so its difference is also reported for these alone. Times are for one thread; the three values take turns on each
image.

Usage: python benchmarks/input/decode.py --photos photos.tar [--epochs 8] [--output FILE]
(writes decode.json next to this script)
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

from tench.data.images.image import jpeg_header
from tench.data.images.picture import Jpeg
from tench.input.draws import uniforms
from tench.input.views import RandomResizedCrop

SIZE = 224
VIEWS = {choice: RandomResizedCrop(size=SIZE, decode=choice) for choice in ("full", "reduced", "fast")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    pictures = []
    for data in (data for of_class in common.photographs(args.photos).values() for data in of_class):
        if (header := jpeg_header(data)) is not None and header.mode == "RGB":
            pictures.append(Jpeg(data, header.height, header.width, 3, False))
    seconds: dict[str, list[float]] = {choice: [] for choice in VIEWS}
    differences: dict[str, list[float]] = {choice: [] for choice in VIEWS}
    largest = dict.fromkeys(VIEWS, 0)
    of_large = dict[str, list[float]]({choice: [] for choice in VIEWS})
    out = np.empty((SIZE, SIZE, 3), np.uint8)
    for epoch in range(-1, args.epochs):  # the time of the first epoch is not counted
        draws = uniforms(0, epoch + 1, np.arange(len(pictures)), VIEWS["full"].num_draws)
        spent = dict.fromkeys(VIEWS, 0.0)
        for picture, numbers in zip(pictures, draws, strict=True):
            made: dict[str, Any] = {}
            for choice, view in VIEWS.items():
                start = time.perf_counter()
                view.render(picture, numbers, out)
                spent[choice] += time.perf_counter() - start
                made[choice] = out.astype(np.int16)
            crop = VIEWS["full"].crop(picture.height, picture.width, numbers)
            for choice in VIEWS:
                difference = np.abs(made[choice] - made["full"])
                differences[choice].append(float(difference.mean()))
                largest[choice] = max(largest[choice], int(difference.max()))
                if min(crop.height, crop.width) >= 2 * SIZE:
                    of_large[choice].append(float(difference.mean()))
        if epoch >= 0:
            for choice in VIEWS:
                seconds[choice].append(spent[choice])
    result = {
        "photographs": len(pictures),
        "views": len(differences["full"]),
        "large_parts": len(of_large["full"]),
        "choices": {
            choice: {
                "milliseconds": common.summary([1000 * one / len(pictures) for one in seconds[choice]], 3),
                "mean_difference": round(statistics.mean(differences[choice]), 3),
                "mean_difference_of_large_parts": round(statistics.mean(of_large[choice]), 3),
                "largest_difference": largest[choice],
            }
            for choice in VIEWS
        },
    }
    write_result(args.output, result)


if __name__ == "__main__":
    main()
