"""Write class folders as a .beton file with FFCV's writer: write_ffcv.py FOLDER FILE MODE MAX_SIDE.

MODE: jpg (re-encoded with quality 90) or raw (pixels). The longer side has at most MAX_SIDE pixels.
"""

import os
import sys
from pathlib import Path

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.writer import DatasetWriter
from PIL import Image

QUALITY = 90


class Folder:
    """The images of class folders: (pixels, label) for each index."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*/*"))
        self._labels = {name: label for label, name in enumerate(sorted({file.parent.name for file in self._files}))}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        file = self._files[number]
        return np.asarray(Image.open(file).convert("RGB")), self._labels[file.parent.name]


def main(folder: str, file: str, mode: str, max_side: str) -> None:
    image = RGBImageField(write_mode=mode, max_resolution=int(max_side), jpeg_quality=QUALITY)
    writer = DatasetWriter(file, {"image": image, "label": IntField()}, num_workers=1)
    writer.from_indexed_dataset(Folder(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # with FFCV 1.0.2 and Python 3.11, the interpreter hangs on exit, after everything is written
