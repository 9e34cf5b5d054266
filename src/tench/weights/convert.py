"""Convert a weight file of another program to a folder that tench uses like a run; rewrite NNabla's file."""

import dataclasses
import logging
import os
import secrets
import shutil
from pathlib import Path

from tench.arguments import checked_arguments
from tench.data.formats.class_files import FILES, parse
from tench.data.formats.wordnet import imagenet, names_of
from tench.data.limits import LIMITS
from tench.data.table import Classes
from tench.errors import TenchError, UsageError, counted
from tench.files import is_there, user_path
from tench.weights import own
from tench.weights.load import card_of, whole_weights
from tench.weights.nnabla_h5 import Layout, converted, is_h5, read_h5, write_h5

_log = logging.getLogger("tench")

IMAGENET = "imagenet"
_H5 = ".h5"
_OF_FOLDER, _OF_H5 = ("arch", "classes"), ("layout", "channels")


@checked_arguments()
def convert_weights(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    arch: str | None = None,
    classes: str | None = None,
    layout: Layout | None = None,
    channels: int | None = None,
) -> Path:
    """Convert a weight file of another program; returns the path of the result, which appears complete or not at all.

    source: a PyTorch state dict, NNabla's `.h5`, or MXNet's `NAME-symbol.json` or `.params`. dest: without a suffix, a
    new folder with the weights and their preprocessing, which `load`, `evaluate`, `predict` and `Recipe.weights` use
    like a run; with the suffix `.h5`, NNabla's file, for a source that is one too.

    arch: the network, if neither the file's names nor its shapes determine it. classes: a file that lists the class
    names in order, or "imagenet" for its 1000; None: the classes are numbers. layout, channels: of the NNabla file:
    "nchw" or "nhwc", 3 or 4 input channels; None keeps them.

    Raises UsageError for a destination that exists and for arguments without effect, TenchError if a file is damaged or
    does not fit the network.

    >>> torch.save(tench.create_model("resnet18", num_classes=2, image_size=224).state_dict(), "resnet18.pth")
    >>> folder = tench.convert_weights("resnet18.pth", "imported", arch="resnet18")
    >>> tench.load(folder).card.image_size
    224
    """
    path, target = user_path(os.fspath(source)), user_path(os.fspath(dest))
    if not is_there(path):
        raise UsageError(f"{path}: no such file.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder. tench uses the folder of a run or of converted weights as it is.")
    if is_there(target):
        raise UsageError(f"{target} exists. Remove it, or name a new destination.")
    given = {"arch": arch, "classes": classes, "layout": layout, "channels": channels}
    if target.suffix not in ("", _H5):
        raise UsageError(f"{target} has the suffix {target.suffix}. Name a folder, or a file with the suffix {_H5}.")
    useless = [name for name in (_OF_FOLDER if target.suffix else _OF_H5) if given[name] is not None]
    if useless:
        kind = "an NNabla file" if target.suffix else "a folder"
        raise UsageError(f"{useless[0]} has no effect if the destination is {kind}. Leave it out.")
    if target.suffix:
        _write_h5(path, target, layout, channels)
    else:
        _write_folder(str(path), target, arch, classes)
    return target


def _write_h5(path: Path, target: Path, layout: Layout | None, channels: int | None) -> None:
    if channels not in (None, 3, 4):
        raise UsageError(f"channels must be 3 or 4, got {channels}.")
    if not path.is_file() or not is_h5(path):
        raise UsageError(f"{path} is not an NNabla parameter file. Only such a file can be written as {_H5}.")
    try:
        parameters = converted(read_h5(path), layout, channels)
    except ValueError as error:
        raise TenchError(f"{path}: {error}.") from error
    write_h5(target, parameters)


def _write_folder(source: str, target: Path, arch: str | None, classes: str | None) -> None:
    start = whole_weights(source, arch)
    for note in start.notes:
        _log.info("%s", note)
    card = card_of(start)
    if classes is not None:
        card = dataclasses.replace(card, classes=_named_classes(classes, len(card.classes)))
    # This loads the weights into the network, so that a folder appears only if they fit.
    classifier = own.classifier(start.state, card, start.source, start.source, "cpu")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        own.save(beside, classifier.module, card)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _named_classes(asked: str, count: int) -> Classes:
    """The classes that a user names for a number of outputs. Raises UsageError for another number of them."""
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
