"""Names of images in a prepared dataset.

An image keeps its key, `CLASS/FILE`, so that it is the same image in every layout. Images without a file name (MNIST,
records without names) get one. The suffix is that of the written format. The class is put before the name in class
folders, and if classes have names.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tench.data.files.names import JUNK
from tench.data.images.encode import PILLOW_NAMES, SUFFIXES, Encoding
from tench.data.images.image import format_of_name, format_of_start
from tench.data.keys import keys_of
from tench.data.table import FILE, Classes, Table
from tench.errors import UsageError

_SUFFIX_OF = {PILLOW_NAMES[name]: suffix for name, suffix in SUFFIXES.items()} | {
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tiff",
    "JPEG2000": ".jp2",
    "AVIF": ".avif",
}
_MAX_FILE_BYTES, _MAX_PATH_BYTES = 255, 4095  # Linux: PATH_MAX is 4096 with the final zero byte
_START_BYTES = 16


def names_of(table: Table, classes: Classes, how: Encoding | None, *, in_folders: bool) -> list[str]:
    """A unique name for each row of a table. in_folders: each name begins with the folder of its class."""
    names = [_with_suffix(table, row, key, how) for row, key in enumerate(table.keys())]
    labels = table.labels.tolist()
    if in_folders:
        ids = [classes.ids[label] if label >= 0 else None for label in labels]
        names = [
            _flat(name) if of is None else name if name.startswith(f"{of}/") else f"{of}/{name}"
            for name, of in zip(names, ids, strict=True)
        ]
    else:
        of_row = [classes.ids[label] if label >= 0 and not classes.numbered else None for label in labels]
        names = keys_of(names, of_row)
    return _different(names)


def check_names(
    paths: Sequence[str], dest: Path, kind: Literal["file", "member", "text"], separators: str = ""
) -> None:
    """Raise UsageError for a name that leads out of its folder, or that a file system or a reader does not accept.

    kind: the names are files below `dest`, members of an archive, or text in a record. separators: characters that end
    a name in a list.
    """
    room = _MAX_PATH_BYTES - len(os.fsencode(dest)) - 1
    fold = kind == "file" and _folds_case(dest)
    seen: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        wrong = ""
        if path.startswith("/") or "" in parts or "." in parts or ".." in parts:
            wrong = "leads out of its folder or has an empty part"
        elif "\0" in path or "\n" in path or any(sign in path for sign in separators):
            signs = "".join(sorted({"\0", "\n", *separators}))
            wrong = f"contains a character that would end the name (one of {signs!r})"
        elif kind != "text" and any(map(_is_left_out, parts)):
            wrong = "has a part that readers skip, because it begins with a dot or is reserved by other programs"
        elif kind == "file" and max(len(part.encode()) for part in parts) > _MAX_FILE_BYTES:
            wrong = f"has a part of more than {_MAX_FILE_BYTES} bytes, too long for a file system"
        elif kind == "file" and len(path.encode()) > room:
            wrong = f"is too long for a file system ({_MAX_PATH_BYTES:,} bytes with the path of the destination)"
        elif fold and seen.setdefault(path.casefold(), path) != path:
            wrong = f"and {seen[path.casefold()]!r} differ only in case, which {dest} does not distinguish"
        if wrong:
            raise UsageError(
                f"The image {path!r} cannot be written under this name: it {wrong}. Rename it in the source, or "
                "choose another layout (--to)."
            )


def check_class_folders(classes: Classes) -> None:
    """Raise UsageError for a class whose id is not a valid folder name."""
    for class_id in classes.ids:
        if "/" in class_id or class_id == "" or _is_left_out(class_id) or len(class_id.encode()) > _MAX_FILE_BYTES:
            raise UsageError(
                f"The class {class_id!r} cannot be used as a folder name. Choose a layout without class folders: --to "
                "webdataset, tfrecord or recordio."
            )


def _is_left_out(part: str) -> bool:
    """Whether `tench.data.files.tree` skips a file or folder of this name."""
    return part.startswith(".") or part in JUNK


def _with_suffix(table: Table, row: int, key: str, how: Encoding | None) -> str:
    """The key with the suffix of the written format."""
    promised = format_of_name(key)
    if how is not None:
        wanted = PILLOW_NAMES[how.format]
    elif table.encoding(row) != FILE:
        wanted = "PNG"
    elif promised:
        return key  # the user's suffix stays, even if the content has another format
    else:
        wanted = format_of_start(table.start(row, _START_BYTES)) or "JPEG"
    if promised == wanted:
        return key
    return (key[: key.rfind(".")] if promised else key) + _SUFFIX_OF.get(wanted, f".{wanted.lower()}")


def _flat(name: str) -> str:
    return name.rpartition("/")[2]


def _different(names: list[str]) -> list[str]:
    """The names; a repeated one gets its row number before the suffix."""
    taken = set(names)
    if len(taken) == len(names):
        return names
    first: dict[str, int] = {}
    out = []
    for row, name in enumerate(names):
        if first.setdefault(name, row) != row:
            dot = name.rfind(".")
            name = f"{name[:dot]}_{row}{name[dot:]}"  # row numbers are unique
            while name in taken:
                name = f"{name[: name.rfind('.')]}_{name[name.rfind('.') :]}"
        out.append(name)
    return out


def _folds_case(dest: Path) -> bool:
    """Whether Cat and cat are the same file in the file system of a folder, or of its nearest existing parent."""
    folder = next(path for path in (dest, *dest.absolute().parents) if path.is_dir())
    here = folder.absolute()
    other = here.with_name(here.name.swapcase())
    return here.name != here.name.swapcase() and other.exists() and other.samefile(here)
