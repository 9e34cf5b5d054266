"""Write the photographs once in the format of each loader: 1,000 images, few enough to stay in the page cache.

Each of the 250 photographs is stored four times under different names. FFCV's files are written by FFCV itself, all
others by `tench prepare`. `512`: re-encoded with quality 90, the longer side at most 512 pixels. `256`: raw pixels, the
longer side at most 256. `addressable`: the originals with restart markers, added losslessly.
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
    """The path of the photographs in one format below `work`, written if missing. ffcv: the Python that has FFCV."""
    folder = work / "folder"
    if not folder.exists():
        common.class_folders(folder, common.photographs(photos), PER_CLASS)
    if form == "folder":
        return folder
    path = work / form
    if form in PREPARED:  # returns at once if it is already complete
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
