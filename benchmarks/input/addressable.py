"""Measure how many bytes restart markers cost and how much decoding time they save.

Original photographs get their markers losslessly from jpegtran (`prepare --addressable`). Smaller ones (longer side at
most 512, quality 90) are written with markers by `prepare`, and compared with the same pixels encoded by OpenCV without
markers. The time is that of decoding the part that a random crop of training shows, in one thread; for each image, the
two versions take turns.

Usage: python benchmarks/input/addressable.py --photos photos.tar [--epochs 8] [--output FILE]
(writes addressable.json next to this script)
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import common
from machine import write_result

from tench.data.images.encode import Encoding, encode
from tench.data.images.image import decode, jpeg_header
from tench.data.images.jpegtran import made_addressable
from tench.data.images.picture import Jpeg
from tench.input.draws import uniforms
from tench.input.views import RandomResizedCrop

VIEW = RandomResizedCrop(size=224)
PLAIN = [cv2.IMWRITE_JPEG_QUALITY, 90]


def without_markers(data: bytes) -> bytes:
    """The JPEG that `prepare` would write, but without restart markers."""
    small = decode(encode(decode(data), Encoding(format="pixels", max_side=512)))
    _, made = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), PLAIN)
    return bytes(made)


def compared(pairs: list[tuple[bytes, bytes]], epochs: int) -> dict[str, Any]:
    """Sizes and decoding times without and with markers. pairs: the same image without and with markers."""
    headers = [jpeg_header(plain) for plain, _ in pairs]
    sizes = [(header.height, header.width) for header in headers if header is not None]
    seconds: tuple[list[float], list[float]] = ([], [])
    for epoch in range(epochs + 1):
        spent = [0.0, 0.0]
        draws = uniforms(0, epoch, np.arange(len(pairs)), VIEW.num_draws)
        for pair, size, numbers in zip(pairs, sizes, draws, strict=True):
            crop = VIEW.crop(*size, numbers)
            for which, data in enumerate(pair):
                picture = Jpeg(data, *size, 3, False)
                start = time.perf_counter()
                picture.part(crop.top, crop.left, crop.height, crop.width, enough=VIEW.size)
                spent[which] += time.perf_counter() - start
        if epoch:  # the first epoch is a warm-up
            for which in (0, 1):
                seconds[which].append(spent[which])
    bytes_without, bytes_with = (sum(len(pair[which]) for pair in pairs) for which in (0, 1))
    return {
        "megabytes": round(bytes_without / 1e6, 2),
        "bytes_with_markers": round(bytes_with / bytes_without, 4),
        "milliseconds_without": common.summary([1000 * one / len(pairs) for one in seconds[0]], 3),
        "milliseconds_with": common.summary([1000 * one / len(pairs) for one in seconds[1]], 3),
        "times_as_fast": common.times_as_fast(seconds[1], seconds[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    every = [data for of_class in common.photographs(args.photos).values() for data in of_class]
    photos = [data for data in every if (header := jpeg_header(data)) is not None and header.mode == "RGB"]
    smaller = Encoding(max_side=512, quality=90)
    forms = {
        "originals": [(data, made_addressable(data)) for data in photos],
        "smaller": [(without_markers(data), encode(decode(data), smaller)) for data in photos],
    }
    result = {"photographs": len(photos)} | {name: compared(pairs, args.epochs) for name, pairs in forms.items()}
    write_result(args.output, result)


if __name__ == "__main__":
    main()
