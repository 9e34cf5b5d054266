"""The child process that reads an HDF5 file for `tench.data.formats.hdf5`. It imports little, to start quickly.

python -m tench.data.formats.hdf5_child list FILE
python -m tench.data.formats.hdf5_child list-attributes FILE
python -m tench.data.formats.hdf5_child copy FILE DATASET TARGET
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tench.data.files.apart import reply
from tench.files import complete_file

_MAX_DATASETS = 10_000
_MAX_DEPTH = 16
_BLOCK_BYTES = 2**24


def _listed(path: str) -> list[dict[str, Any]]:
    """Name, shape, dtype and place of each dataset of numbers or fixed text in a file."""
    import h5py

    found: list[dict[str, Any]] = []

    def enter(group: Any, prefix: str, depth: int) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink) or len(found) >= _MAX_DATASETS:
                continue  # a link can point to another file
            entry = group[name]
            if isinstance(entry, h5py.Group) and depth < _MAX_DEPTH:
                enter(entry, f"{prefix}{name}/", depth + 1)
            elif isinstance(entry, h5py.Dataset) and entry.shape and not entry.is_virtual and not entry.external:
                dtype = _plain_dtype(entry)
                if dtype is not None:
                    in_place = entry.chunks is None and entry.dtype.kind in "uifb"  # text is converted to NumPy's form
                    offset = entry.id.get_offset() if in_place else None
                    found.append(
                        {
                            "name": prefix + name,
                            "shape": [int(size) for size in entry.shape],
                            "dtype": dtype,
                            "offset": None if offset is None else int(offset),
                        }
                    )

    with h5py.File(path, "r") as file:
        enter(file, "", 0)
    return found


def _with_attributes(path: str) -> list[dict[str, Any]]:
    """The same, each with the numbers and texts among its attributes."""
    import h5py

    found = _listed(path)
    with h5py.File(path, "r") as file:
        for one in found:
            values = file[one["name"]].attrs.items()
            plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in values}
            one["attributes"] = {key: value for key, value in plain.items() if isinstance(value, int | float | str)}
    return found


def _plain_dtype(dataset: Any) -> str | None:
    """NumPy's name of a dataset's numbers or text; None for compounds, references and variable-length lists."""
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        return f"U{_text_length(dataset)}"
    return dataset.dtype.str if dataset.dtype.kind in "uifb" and dataset.dtype.shape == () else None


def _text_length(dataset: Any) -> int:
    return max((len(str(text)) for text in dataset.asstr()[:].ravel()), default=1) or 1 if dataset.size < 10**7 else 256


def _copy(path: str, dataset: str, target: str) -> int:
    """Write a dataset as a .npy file, a few entries at a time."""
    import h5py

    with h5py.File(path, "r") as file, complete_file(Path(target)) as part:
        source = file[dataset]
        dtype = np.dtype(_plain_dtype(source))
        text = dtype.kind == "U"
        with part.open("wb") as sink:
            header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(map(int, source.shape))}
            np.lib.format.write_array_header_2_0(sink, header)
            each = max(1, math.prod(source.shape[1:]) * dtype.itemsize)
            step = max(1, _BLOCK_BYTES // each)
            for start in range(0, source.shape[0], step):
                block = (source.asstr() if text else source)[start : start + step]
                sink.write(np.ascontiguousarray(block.astype(dtype) if text else block).tobytes())
    return int(source.shape[0]) if source else 0


if __name__ == "__main__":
    asked, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., Any]] = {"list": _listed, "list-attributes": _with_attributes, "copy": _copy}
    reply(lambda: commands[asked](*arguments), "HDF5")
