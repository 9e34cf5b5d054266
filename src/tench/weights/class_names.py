"""The classes of weights that have only numbers for them, by a file or by the name of a known list."""

from pathlib import Path

from tench.data.formats.class_files import FILES, parse
from tench.data.formats.wordnet import imagenet, names_of
from tench.data.limits import LIMITS
from tench.data.table import Classes
from tench.errors import TenchError, UsageError, counted
from tench.files import user_path

IMAGENET = "imagenet"


def named_classes(asked: str, count: int) -> Classes:
    """The classes that a user names for a network with this many outputs: a file that lists them in order, or
    "imagenet".

    Raises UsageError for another number of classes or a missing file, TenchError if the file cannot be read.
    """
    if asked == IMAGENET:
        classes = Classes.of(imagenet(), names_of(imagenet()))
    else:
        path = user_path(asked)
        if not path.is_file():
            raise UsageError(f"{path}: no such file. classes is {IMAGENET!r} or a file that lists the classes.")
        if path.stat().st_size > LIMITS.classes_bytes:
            raise UsageError(f"{path} has {path.stat().st_size:,} bytes, too many for a list of classes.")
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise TenchError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from error
        classes = parse(text, str(path), path.name if path.name in FILES else _plain_name(path)).classes
    if len(classes) != count:
        raise UsageError(f"{asked} names {counted(len(classes), 'class')}, but the network has {count:,} outputs.")
    return classes


def _plain_name(path: Path) -> str:
    """The name of a known file of classes with the suffix of this one."""
    return {".csv": "categories.csv", ".json": "imagenet_class_index.json"}.get(path.suffix.lower(), "classes.txt")
