"""Convert weights of other programs to a folder that tench uses like a run, and weights of tench for other programs."""

import contextlib
import logging
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from tench.arguments import checked_arguments
from tench.data.source import Source
from tench.errors import PassingError, TenchError, UsageError, counted
from tench.evaluation.evaluate import evaluate
from tench.evaluation.evaluation import Evaluation
from tench.exporting.as_library import as_library
from tench.exporting.model_readme import README, readme
from tench.exporting.to_timm import write_timm
from tench.files import is_there, user_path
from tench.models.fingerprints import nearest_archs
from tench.models.from_torchvision import size_arguments
from tench.weights import own
from tench.weights.load import load
from tench.weights.nnabla_h5 import Layout, converted, write_h5
from tench.weights.nnabla_nnp import read_parameters
from tench.weights.onnx_file import require_weights
from tench.weights.recognise import is_h5, is_nnp, is_tench_weights
from tench.weights.start import starting_weights

_log = logging.getLogger("tench")

Library = Literal["timm", "torchvision"]
_H5 = ".h5"
_OF_H5, _OF_LIBRARY, _OF_FOLDER = ("layout", "channels"), ("license",), ("arch", "classes", "verify", "to", "license")
"""Arguments that only apply to one kind of destination."""
_STATE = "model.pth"
"""The file of torchvision's weights."""


@checked_arguments()
def convert_weights(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    arch: str | None = None,
    classes: str | None = None,
    to: Library | None = None,
    verify: Source | None = None,
    license: str | None = None,
    layout: Layout | None = None,
    channels: int | None = None,
) -> Path:
    """Convert weights of another program for tench, or export weights; return the path of the result, which appears
    complete or not at all.

    source: a PyTorch state dict, a transformers or timm folder, NNabla's `.h5` or `.nnp`, MXNet's `NAME-symbol.json` or
    `.params`, or published weights (`torchvision:NAME`, `timm:NAME`); with `to`, also a run. dest: without a suffix, a
    new folder with the weights and their preprocessing, which `load`, `evaluate`, `predict` and `Recipe.weights` use
    like a run; with the suffix `.h5`, NNabla's file, for a source that is one too.

    arch: the network, if the file neither names it nor (NNabla, Gluon) determines it by its shapes. classes: a file
    that lists the class names in order, or "imagenet" for its 1000; None: those of the source, else numbers.

    to: export for this library. timm reads the folder with `timm.create_model("local-dir:DEST", pretrained=True)`;
    torchvision gets model.pth, a state dict. Both get a model card, README.md. license: stated in these files.

    verify: labelled images to evaluate the weights on first; the result is logged. Without arch, each network that fits
    weights which do not name theirs is tried, and the most accurate one is used. Unless it is clearly better than
    chance, nothing is written and TenchError is raised: the network, the preprocessing or the order of the classes is
    probably wrong. layout, channels: of the NNabla file: "nchw" or "nhwc", 3 or 4 input channels; None keeps them.

    Raises UsageError for a destination that exists, for arguments without effect, and if the library has no network
    with the same logits; TenchError if a file is damaged or does not fit the network.

    >>> torch.save(tench.create_model("resnet18", num_classes=2, image_size=224).state_dict(), "resnet18.pth")
    >>> folder = tench.convert_weights("resnet18.pth", "imported", arch="resnet18")
    >>> tench.load(folder).card.image_size
    224
    """
    text, target = os.fspath(source), user_path(os.fspath(dest))
    if is_there(target):
        raise UsageError(f"{target} exists. Remove it, or name a new destination.")
    if target.suffix not in ("", _H5):
        raise UsageError(f"{target} has the suffix {target.suffix}. Name a folder, or a file with the suffix {_H5}.")
    given = {
        "verify": verify,
        "arch": arch,
        "classes": classes,
        "license": license,
        "layout": layout,
        "channels": channels,
        "to": to,
    }
    kind = "an NNabla file" if target.suffix else f"a folder for {to or 'tench'}"
    for name in _OF_FOLDER if target.suffix else (*_OF_H5, *(_OF_LIBRARY if to is None else ())):
        if given[name] is not None:
            hint = f" For that, DEST must end in {_H5}." if name in _OF_H5 else ""
            raise UsageError(f"--{name} has no effect if the destination is {kind}. Leave it out.{hint}")
    if target.suffix:
        _write_h5(_file(text), target, layout, channels)
        return target
    if to is None and is_tench_weights(user_path(text)):
        raise UsageError(
            f"{text} already has tench's weights. To export them, choose a library: --to timm or --to torchvision."
        )
    require_weights(text)
    measured = None
    if arch is None and verify is not None:
        arch, measured = _best_candidate(text, classes, verify)
    classifier = load(text, "cpu", arch=arch, classes=classes)
    if verify is not None:
        _require_skill(classifier.source, measured or evaluate(classifier, verify))
    if to is None:
        with _complete_folder(target) as folder:
            own.save(folder, classifier.module, classifier.card)
        return target
    name, network = as_library(classifier, to)
    with _complete_folder(target) as folder:
        _export(to, name, network, folder, classifier, license, target.name)
    return target


def _file(text: str) -> Path:
    path = user_path(text)
    if not is_there(path):
        raise UsageError(f"{path}: no such file.")
    return path


def _write_h5(path: Path, target: Path, layout: Layout | None, channels: int | None) -> None:
    if channels not in (None, 3, 4):
        raise UsageError(f"--channels must be 3 or 4, got {channels}.")
    if not path.is_file() or not (is_h5(path) or is_nnp(path)):
        raise UsageError(f"{path} is not an NNabla parameter file. Only such a file can be written as {_H5}.")
    try:
        parameters = converted(read_parameters(path), layout, channels)
    except ValueError as error:
        raise TenchError(f"{path}: {error}.") from error
    write_h5(target, parameters)


def _best_candidate(source: str, classes: str | None, images: Source) -> tuple[str | None, Evaluation | None]:
    """The most accurate of the networks that fit weights which do not name theirs, and its evaluation; else (None,
    None)."""
    if not is_there(user_path(source)) or (start := starting_weights(source)).arch is not None:
        return None, None
    found: dict[str, Evaluation] = {}
    for arch in nearest_archs(start.state):
        found[arch] = evaluate(load(source, "cpu", arch=arch, classes=classes), images)
        _log.info("%s: top-1 %.2f%%", arch, 100 * found[arch].top1)
    best = max(found, key=lambda arch: found[arch].top1, default=None)
    return best, None if best is None else found[best]


def _require_skill(source: str, found: Evaluation) -> None:
    """Raise TenchError unless the mean recall is clearly better than chance. source: of the weights, for the error.

    The recall is averaged over the classes, so a network that always answers with the most frequent class has none.
    """
    _log.info("%s: top-1 %.2f%%, top-5 %.2f%%.", found.name, 100 * found.top1, 100 * found.top5)
    counts = np.bincount(found.labels, minlength=len(found.classes))
    hits = np.bincount(found.labels[found.labels == found.predicted[:, 0]], minlength=len(found.classes))
    present = counts > 0
    recall = float((hits[present] / counts[present]).mean())
    chance = 1 / (present.sum() if present.sum() > 1 else len(found.classes))
    # Four standard deviations of a random guess, so that a small sample does not pass by luck.
    margin = 4 * math.sqrt((chance * (1 - chance) / counts[present]).sum()) / present.sum()
    if recall <= chance + margin:
        raise TenchError(
            f"{source}: top-1 on {found.name} is {found.top1:.2%} of {counted(found.images, 'image')}, and "
            f"the mean over the classes is {recall:.2%}; chance is {chance:.2%}, so this is not clearly better. Check "
            "the class order (--classes), the network (-a) and the preprocessing, or verify on more images; leave "
            "--verify out if the weights are untrained. Nothing was written."
        )


def _export(
    library: Library,
    name: str,
    network: nn.Module,
    folder: Path,
    classifier: own.Classifier,
    license_name: str | None,
    dest: str,
) -> None:
    card = classifier.card
    if library == "timm":
        write_timm(folder, name, network, classifier.card, license_name)
        use = f"import timm\n\nmodel = timm.create_model({f'local-dir:{dest}'!r}, pretrained=True).eval()"
    else:
        if card.channels != 3:
            raise UsageError(f"{classifier.source}: torchvision cannot create {name} for grey images. Use --to timm.")
        torch.save({key: own.plain_copy(tensor) for key, tensor in network.state_dict().items()}, folder / _STATE)
        given = {"num_classes": len(card.classes), **size_arguments(name, card.image_size)}
        arguments = ", ".join(f"{key}={value}" for key, value in given.items())
        use = (
            "import torch\nimport torchvision\n\n"
            f'model = torchvision.models.get_model("{name}", {arguments})\n'
            f"model.load_state_dict(torch.load({f'{dest}/{_STATE}'!r}))\nmodel.eval()"
        )
    (folder / README).write_text(readme(classifier, library, name, license_name, use), "utf-8")


@contextlib.contextmanager
def _complete_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target: renamed to it if the block succeeds, else removed."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        beside.mkdir()
    except OSError as error:
        raise PassingError(f"{target} cannot be created ({error.strerror}).") from error
    try:
        yield beside
        beside.rename(target)
    except OSError as error:
        raise PassingError(f"{target} cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
