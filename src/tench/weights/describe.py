"""Describe a file of weights: which program wrote it, which network it is for, and what can be done with it."""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tench.arguments import checked_arguments
from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.files import is_there, shell_command, user_path
from tench.models.fingerprints import nearest_archs
from tench.models.meta import dry_run
from tench.models.own_network import is_own
from tench.models.registry import source_of
from tench.models.stem import LARGEST_FITTED
from tench.weights.by_order import with_counters
from tench.weights.known import Start
from tench.weights.load import card_of
from tench.weights.mxnet_params import read_params
from tench.weights.nnabla_h5 import in_channels_of, layout_of
from tench.weights.nnabla_nnp import read_parameters
from tench.weights.own import differences, first_of
from tench.weights.plain_state import completed
from tench.weights.recognise import PARAMS, is_h5, is_nnp, is_params, is_weights
from tench.weights.start import starting_weights

_STATISTICS = re.compile(r"(running_mean|running_var|num_batches_tracked|moving_mean|moving_var|[./](mean|var))$")
"""Names of tensors that are not trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """What a weights file contains. A field is None if unknown.

    >>> torch.save(tench.create_model("resnet18", num_classes=1000, image_size=224).state_dict(), "resnet18.pth")
    >>> found = tench.weights_info("resnet18.pth")
    >>> found.system, found.num_parameters, "resnet18" in found.candidates
    ('PyTorch', 11689512, True)
    """

    path: str
    system: str
    """The program that wrote it: tench, PyTorch, transformers, timm, NNabla, MXNet or Gluon."""
    arch: str | None
    """The network, as `create_model` accepts it."""
    candidates: tuple[str, ...]
    """If arch is None: the networks with the same tensor names and shapes, else those with the same shapes in order.
    Equal shapes do not mean equal results."""
    num_tensors: int
    num_parameters: int
    """Number of trained values; the statistics of batch norms do not count."""
    layout: str | None
    """nchw or nhwc, for NNabla's files."""
    num_classes: int | None
    classes: Classes | None
    image_size: int | None
    """Side of the square images, pixels."""
    channels: int | None
    """Input channels of the first layer; NNabla may add a fourth, which is always zero."""
    eval_resize: int | None
    """Side to which the shorter side of an image is resized, or both sides if squash, before the centre is cropped."""
    squash: bool
    interpolation: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    """Mean and std of pixels from 0 to 1."""
    is_assumed: bool
    """Whether the file does not describe its input, and the usual one is given."""
    problem: str | None
    """Why the weights cannot be used, if so."""
    commands: tuple[str, ...]
    """Commands that can use the file."""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; the classes as a list of names."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return values | {"classes": None if self.classes is None else list(self.classes.names)}


@checked_arguments()
def weights_info(path: str | os.PathLike[str]) -> WeightsInfo:
    """Describe a run, a folder or a file of weights.

    Raises UsageError if the path is missing or has no weights, TenchError if it is damaged.

    >>> found = tench.weights_info("runs/digits")
    >>> found.system, found.arch, found.num_classes
    ('tench', 'resnet20', 10)
    """
    text = os.fspath(path)
    place = user_path(text)
    if not is_there(place):
        raise UsageError(f"{text}: no such file or folder.")
    if not is_weights(place):
        raise UsageError(f"{text} does not contain weights that tench can read.")
    known, problem = _start_of(text)
    raw = _raw(place) if known is None or known.system == "NNabla" else None
    start = known or Start(state={}, source=text, system=raw.system if raw else "PyTorch")
    sizes = {name: tensor.numel() for name, tensor in start.state.items()} if raw is None else raw.sizes
    found = WeightsInfo(
        path=text,
        system=start.system,
        arch=start.arch,
        candidates=tuple(nearest_archs(start.state)) if start.arch is None else (),
        num_tensors=len(sizes),
        num_parameters=sum(size for name, size in sizes.items() if not _STATISTICS.search(name)),
        layout=raw.layout if raw else None,
        num_classes=start.num_classes,
        classes=start.classes,
        image_size=start.image_size,
        channels=raw.channels if raw and raw.channels else start.channels,
        eval_resize=start.eval_resize,
        squash=start.squash,
        interpolation=start.interpolation,
        mean=start.mean,
        std=start.std,
        is_assumed=start.is_assumed,
        problem=problem or _misfit(start),
        commands=(),
    )
    return found if found.problem else dataclasses.replace(found, commands=tuple(_commands(text, start)))


def _misfit(start: Start) -> str | None:
    """Why weights do not fit the network that they name."""
    if start.arch is None or is_own(start.arch):
        return None
    try:
        whole = start if start.num_classes is not None else completed(start.state, start.arch, start.source)
        card = card_of(whole)
        module = dry_run(card.create_module, (1, card.channels, 1, 1), lambda network, _: network)
        found = differences(module.state_dict(), with_counters(module, whole.state) | whole.state)
    except TenchError as error:
        return str(error)
    return f"its weights do not fit {start.arch}: {first_of(found)}." if found else None


def _start_of(name: str) -> tuple[Start | None, str | None]:
    """(weights, None), or (None, why an NNabla or MXNet parameter file cannot be used)."""
    try:
        return starting_weights(name), None
    except TenchError as error:
        if _raw(user_path(name)) is None:
            raise
        return None, str(error)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Raw:
    """The content of a file whose network may be unknown. sizes: the number of values by name."""

    system: str
    sizes: dict[str, int]
    layout: str | None = None
    channels: int | None = None


def _raw(path: Path) -> _Raw | None:
    """The content of a parameter file of NNabla or MXNet; None for other files."""
    if not path.is_file():
        return None
    if is_h5(path) or is_nnp(path):
        parameters = read_parameters(path)
        try:
            layout, channels = layout_of(parameters), in_channels_of(parameters)
        except ValueError:  # no batch norm, or no convolution
            layout, channels = None, None
        sizes = {one.name: one.values.size for one in parameters}
        return _Raw(system="NNabla", sizes=sizes, layout=layout, channels=channels)
    if path.suffix == PARAMS or is_params(path):
        return _Raw(system="MXNet", sizes={name: tensor.numel() for name, tensor in read_params(path).items()})
    return None


def _commands(path: str, start: Start) -> Iterator[str]:
    """Commands that can use the weights."""
    named = () if start.arch is not None else ("-a", "ARCH")
    is_imagenet = start.num_classes == 1000 and (start.classes is None or start.classes.numbered)
    classes = ("--classes", "imagenet") if is_imagenet else ()
    yield f"tench train SOURCE {shell_command('--weights', path, *named)}"
    yield f"{shell_command('tench', 'evaluate', path, *named, *classes)} SOURCE"
    yield f"{shell_command('tench', 'predict', path, *named, *classes)} IMAGE"
    if start.system != "tench":
        yield f"{shell_command('tench', 'weights', path, *named, *classes)} DEST"
    if start.system == "NNabla":
        yield f"{shell_command('tench', 'weights', path)} OUT.h5 --layout nchw|nhwc --channels 3|4"
    for library in _libraries(start):
        yield f"{shell_command('tench', 'weights', path, *named, *classes)} DEST --to {library}"


def _libraries(start: Start) -> list[str]:
    """The libraries that have the network: its own, unless its stem is fitted to small images. Others may have it
    too."""
    if start.arch is None or start.graph is not None or is_own(start.arch):
        return []
    fits = start.image_size is None or start.image_size > LARGEST_FITTED
    return [source_of(start.arch).NAME] if fits and source_of(start.arch).NAME in ("timm", "torchvision") else []
