"""Write small files, folders and tars for a test, and damage bytes."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_file(path: Path, data: bytes) -> Path:
    """Write a file, creating its folders. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by their relative path. Returns the folder."""
    for name, data in files.items():
        write_file(folder / name, data)
    return folder


def named(names: Iterable[str], prefix: bytes = b"") -> dict[str, bytes]:
    """Files that each contain their own name, so that no two are equal."""
    return {name: prefix + name.encode() for name in names}


def tar_of(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of these members, in this order. Pairs may repeat a name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for name, data in files.items() if isinstance(files, Mapping) else files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def flip_bit(data: bytes, position: int, bit: int = 0) -> bytes:
    """The data with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)
