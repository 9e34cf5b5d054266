"""Recognise files and folders of weights without PyTorch: by names, first bytes and, in archives and HDF5, members."""

import re
import struct
import zipfile
from pathlib import Path

from tench.data.files.apart import answer_of
from tench.data.formats.hdf5 import CHILD, MAGIC, require_h5py
from tench.errors import TenchError
from tench.files import is_there

WEIGHTS, CARD, GRAPH, RECIPE = "best.safetensors", "model.json", "symbol.json", "recipe.yaml"
CHECKPOINT, IMAGES = "last.ckpt", "images.safetensors"
"""In the folder of a run or of converted weights."""
CONFIG = "config.json"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""The weights beside config.json in a folder of the Hugging Face hub, the preferred name first."""
SAFETENSORS, SYMBOL, PARAMS = ".safetensors", "-symbol.json", ".params"

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of torch.save's files before PyTorch 1.6."""
_NAMES_NETWORK, _MAX_CONFIG = re.compile(rb'"architectures?"\s*:'), 2**20
"""In config.json; other programs, such as editors of annotations, have files of this name too."""
_PARAMS_MAGIC = struct.pack("<QQ", 0x112, 0)


def is_weights(path: Path) -> bool:
    """Whether a path is a run, or a folder or file of weights. `.safetensors`, `-symbol.json` and `.params` count by
    name alone."""
    if path.is_dir():
        is_ours = is_there(path / WEIGHTS) and is_there(path / CARD)  # one of the names alone may mean something else
        return is_ours or hub_folder(path) is not None
    if not path.is_file():
        return False
    if path.name.endswith((SAFETENSORS, SYMBOL, PARAMS)) or hub_folder(path) is not None:
        return True
    try:
        if _begins_like_weights(path) and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
                is_of_torch = any(
                    name.removesuffix("data.pkl") + "version" in names for name in names if name.endswith("/data.pkl")
                )
                return is_of_torch or _NNP_VERSION in names
        return _begins_with(path, _LEGACY) or is_params(path) or (is_h5(path) and _is_of_nnabla(path))
    except (OSError, zipfile.BadZipFile, TenchError):  # whoever reads it as images reports the problem
        return False


_NNP_VERSION = "nnp_version.txt"


def _begins_like_weights(path: Path) -> bool:
    """Whether the first member of a zip archive may be that of torch.save or NNabla.

    Listing the members of an archive with a million images takes seconds; its first bytes suffice to exclude it.
    """
    with path.open("rb") as file:
        head = file.read(_ZIP_HEAD + _MAX_FIRST_NAME)
    length = int.from_bytes(head[26:28], "little")
    name = head[_ZIP_HEAD : _ZIP_HEAD + length]
    return head.startswith(_ZIP) and (name.endswith(b"/data.pkl") or name == _NNP_VERSION.encode())


_ZIP, _ZIP_HEAD, _MAX_FIRST_NAME = b"PK\x03\x04", 30, 1024
"""The first bytes of a member, and the length of what precedes its name."""


def is_nnp(path: Path) -> bool:
    """Whether a file is NNabla's `.nnp`, a zip archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return _NNP_VERSION in archive.namelist()


def is_h5(path: Path) -> bool:
    """Whether a file begins like HDF5."""
    return _begins_with(path, MAGIC)


def is_params(path: Path) -> bool:
    """Whether a file begins like MXNet's `.params`."""
    return _begins_with(path, _PARAMS_MAGIC)


def is_tench_weights(path: Path) -> bool:
    """Whether a path is a run, a folder of converted weights, or a file of one."""
    if path.is_dir():
        return is_there(path / WEIGHTS) or is_there(path / CARD)
    is_its_file = path.name in (WEIGHTS, CARD, CHECKPOINT, IMAGES) or path.suffix == SAFETENSORS
    return is_its_file and any(is_there(path.with_name(name)) for name in (WEIGHTS, CARD))


def hub_folder(path: Path) -> Path | None:
    """The folder of the Hugging Face hub that a path means: the folder, or that of its config or weights; else None."""
    folder = path if path.is_dir() else path.parent
    config = folder / CONFIG
    if not (path.is_dir() or path.name in (CONFIG, *HUB_FILES)) or not is_there(config) or is_there(folder / CARD):
        return None
    try:
        return folder if _NAMES_NETWORK.search(config.read_bytes()[:_MAX_CONFIG]) else None
    except OSError:
        return None


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _is_of_nnabla(path: Path) -> bool:
    """Whether an HDF5 file has the attributes of NNabla's parameters, which files of images do not have."""
    require_h5py(str(path))
    listed = answer_of(CHILD, ["list-attributes", str(path)], str(path), num_bytes=path.stat().st_size)
    return any({"index", "need_grad"} <= one["attributes"].keys() for one in listed)
