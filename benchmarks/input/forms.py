"""The photographs as each loader stores them, made once: 1,000 images, so that all of it stays in the page cache.

Each of the 250 photographs is there four times under other names. What FFCV stores is written by FFCV itself, all else
by `tench prepare`. `512`: encoded anew with quality 90, the longer side at most 512 pixels; `256`: pixels, the longer
side at most 256. `addressable`: the originals with restart markers, without loss.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

PER_CLASS = 4  # photos.tar has one photograph of each class
PEERS = Path(__file__).parent / "peers"

SMALLER = ("--max-side", "512", "--quality", "90")
PREPARED = {
    "addressable": ("--to", "folder", "--addressable"),
    "webdataset": ("--to", "webdataset", "--shards", "8"),
    "tfrecord": ("--to", "tfrecord", "--shards", "8"),
    "recordio": ("--to", "recordio"),
    "webdataset-512": ("--to", "webdataset", "--shards", "8", *SMALLER),
    "recordio-512": ("--to", "recordio", *SMALLER),
    "webdataset-256": ("--to", "webdataset", "--shards", "8", "--max-side", "256", "--format", "pixels"),
}
BETON = {"beton-512": ("jpg", "512"), "beton-256": ("raw", "256")}


def make(form: str, work: Path, photos: Path, ffcv: Path) -> Path:
    """The path of a form of the photographs below `work`. ffcv: the Python that has FFCV."""
    folder = work / "folder"
    if not folder.exists():
        common.class_folders(folder, common.photographs(photos), PER_CLASS)
    if form == "folder":
        return folder
    path = work / form
    if form in PREPARED:  # at once where it is complete already
        run(*common.TENCH, "prepare", folder, path, *PREPARED[form])
    elif not path.exists():
        part = path.with_suffix(".part")
        run(ffcv, PEERS / "write_ffcv.py", folder, part, *BETON[form])
        part.rename(path)
    return path


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def num_images(work: Path) -> int:
    return sum(1 for _ in (work / "folder").glob("*/*"))
