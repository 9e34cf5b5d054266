"""Our own weights: `best.safetensors`, and beside it `model.json` with all that is needed to use and judge them."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tench.data.handled import Policy
from tench.data.images.image import with_channels
from tench.data.options import SourceOptions
from tench.data.table import Classes
from tench.errors import PassingError, TenchError, UsageError, some
from tench.files import complete_file, user_path, write_text
from tench.input.resampling import Interpolation
from tench.input.views import EvalView, TestTime
from tench.machine import choose_device
from tench.models import create
from tench.models.own_network import OwnNetwork, create_own, is_own
from tench.models.source import AS_MADE, ModelOptions
from tench.own_code import is_object, trusted
from tench.plain import read_json, typed
from tench.weights.files import SAFETENSORS, read_safetensors
from tench.weights.test_time import at_test_time, test_time_view

WEIGHTS, CARD = "best.safetensors", "model.json"

NOT_FINITE = "the network's logits are not finite (NaN or infinity): its weights or its input range are wrong"
"""The reason why an image has no answer."""

_AT_ONCE = 64
"""Images per forward pass, which bounds memory for any number of images."""

_MAX_SIDE = 16_384
"""Largest side of a network's input, pixels: more than any network uses."""
_STD_RANGE = (1e-6, 1e6)
"""Outside of it float32 numbers do not stay finite for long."""

_Item = TypeVar("_Item")


class Best(TypedDict):
    """The metrics of the best epoch so far; epochs are counted from 1."""

    epoch: int
    top1: float
    top5: float
    loss: float


class TrainedOn(TypedDict, total=False):
    """What a run remembers of its data, in model.json and environment.json; `training.plan.Data.facts` tells more."""

    source: Required[str | list[str]]
    val: str | None
    val_name: str
    layout: str
    fingerprint: str
    val_fingerprint: str | None
    val_fraction: float
    options: dict[str, Any]
    bad: Policy
    bad_images: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that is needed to use weights: the network, its classes, and the preprocessing."""

    arch: str
    classes: Classes
    channels: int
    image_size: int
    eval_resize: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Mean and std of the network's input."""
    test_time: TestTime = "none"
    """The views whose logits are averaged for an image."""
    options: ModelOptions = AS_MADE
    """Options of the network besides its name."""
    metrics: dict[str, int | float] = dataclasses.field(default_factory=dict)
    """Results of the validation that chose these weights: fractions and a loss."""
    trained_on: dict[str, Any] = dataclasses.field(default_factory=dict)
    """source, val, val_name, val_fraction and the fingerprints of the data; empty if unknown."""

    @property
    def view(self) -> EvalView:
        """The view of an image that the network sees."""
        return EvalView(size=self.image_size, resize=self.eval_resize, interpolation=self.interpolation)

    @property
    def test_view(self) -> EvalView:
        """What `averaged` sees of an image: more than the network where it averages over crops."""
        return test_time_view(self.view, self.test_time)

    def create_module(self, own: OwnNetwork | None = None) -> nn.Module:
        """The network with fresh weights. own: the user's network, used instead of the one that `arch` names."""
        size = {"image_size": self.image_size, "channels": self.channels}
        if own is not None:
            return create_own(own, num_classes=len(self.classes), options=self.options, **size)
        return create(self.arch, num_classes=len(self.classes), options=self.options, **size)

    def normalise(self, device: torch.device) -> "Normalise":
        return Normalise(self.mean, self.std, device, channel_order=self.channel_order)

    def to_json(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "classes": self.classes.to_json(),
            "options": dataclasses.asdict(self.options),
        }

    def require_valid(self) -> None:
        """Raise ValueError for the first value that no network can be used with."""
        low, high = _STD_RANGE
        options = self.options
        rates = [rate for rate in (options.dropout, options.drop_path) if rate is not None]
        per_channel = f"{self.channels} numbers"
        checks: tuple[tuple[bool, str, object, str], ...] = (
            (self.channels in (1, 3), "channels", self.channels, "1 or 3"),
            (1 <= self.image_size <= _MAX_SIDE, "image_size", self.image_size, f"1 to {_MAX_SIDE:,}"),
            (
                self.image_size <= self.eval_resize <= 2 * _MAX_SIDE,
                "eval_resize",
                self.eval_resize,
                f"image_size ({self.image_size}) to {2 * _MAX_SIDE:,}",
            ),
            (len(self.mean) == self.channels, "mean", list(self.mean), per_channel),
            (len(self.std) == self.channels, "std", list(self.std), per_channel),
            (all(abs(value) <= high for value in self.mean), "mean", list(self.mean), f"at most {high:g}"),
            (all(low <= value <= high for value in self.std), "std", list(self.std), f"{low:g} to {high:g}"),
            (len(self.classes) > 0, "classes", [], "at least one class"),
            (all(0 <= rate < 1 for rate in rates), "options", rates, "0 to less than 1"),
            (all(1 <= one <= 8 for one in options.strides or ()), "options.strides", options.strides, "1 to 8 each"),
        )
        for is_right, name, value, expected in checks:
            if not is_right:
                raise ValueError(f"{name} is {value}, but should be {expected}")

    @classmethod
    def from_json(cls, data: Any) -> "ModelCard":
        """The card that `to_json` gave. Raises ValueError naming the key that is wrong."""
        card: ModelCard = typed(data, cls, "")
        if card.trained_on:
            trained_on: TrainedOn = typed(card.trained_on, TrainedOn, "trained_on")
            SourceOptions.from_json(trained_on.get("options", {}), "trained_on.options")
        card.require_valid()
        return card


class Normalise:
    """uint8 pixels to the network's input: (pixels / 255 - mean) / std, one mean and std per channel.

    channel_order: rgb or bgr, of the input, mean and std; pixels are always RGB.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        memory_format: torch.memory_format = torch.channels_last,
        channel_order: str = "rgb",
    ) -> None:
        self._memory_format, self._is_reversed = memory_format, channel_order == "bgr"
        self._mean, self._std = (
            torch.tensor(values, device=device).mul(255).view(1, -1, 1, 1) for values in (mean, std)
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """images: (B, C, H, W) uint8. Returns the same shape, float32, in the memory format asked for."""
        if self._is_reversed:
            images = images.flip(1)  # while they are bytes: a quarter of what the floats would take
        return images.float().sub_(self._mean).div_(self._std).contiguous(memory_format=self._memory_format)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained network ready for use.

    module: normalised float (B, C, H, W) in, logits (B, classes) out; in evaluation mode.
    """

    module: nn.Module
    card: ModelCard
    source: str

    @property
    def classes(self) -> Classes:
        return self.card.classes

    @property
    def view(self) -> EvalView:
        """The view of an image that the network sees."""
        return self.card.view

    @property
    def averaged(self) -> nn.Module:
        """The network as it was validated: averaged over views of `card.test_view`, where the card says so."""
        return at_test_time(self.module, self.card.test_time, size=self.card.image_size)

    def predict(self, images: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Class probabilities of images: (len(images), classes) float32.

        images: uint8 arrays of any size, (H, W, 3), or (H, W) or (H, W, 1) for grey, or one array of such images; the
        channels are converted to the network's. Raises UsageError for an array of another kind, and for a single image.
        """
        if isinstance(images, np.ndarray) and (images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (1, 3))):
            raise UsageError(f"An array of shape {images.shape} is one image. Give a list of images, [image].")
        found = self.probabilities([self.card.test_view.pixels(self._image(image)) for image in images])
        if len(bad := np.flatnonzero(np.isnan(found).any(axis=1))):
            raise TenchError(f"{self.source}: image {bad[0]} of {len(found)}: {NOT_FINITE}.")
        return found

    def _image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        pixels = image[..., None] if image.ndim == 2 else image
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise UsageError(
                f"An image is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W, 3), (H, W, 1) or "
                "(H, W)."
            )
        return with_channels(pixels, self.card.channels)

    def probabilities(self, views: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Class probabilities of images as `card.test_view` cuts them, uint8: (len(views), classes) float32.

        NaN for an image whose logits are not all finite.
        """
        device = next(self.module.parameters()).device
        network, normalise = self.averaged, self.card.normalise(device)
        found = [np.zeros((0, len(self.classes)), dtype=np.float32)]
        with torch.inference_mode():
            for part in in_batches(views):
                pixels = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).to(device)
                logits = network(normalise(pixels)).float()
                answer = logits.softmax(dim=1).masked_fill(~logits.isfinite().all(dim=1, keepdim=True), torch.nan)
                found.append(answer.cpu().numpy())
        return np.concatenate(found)


def in_batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Parts of a sequence, in order, each as long as a classifier takes images at once, the last what is left."""
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def save(folder: Path, module: nn.Module, card: ModelCard) -> None:
    """Write weights and card into a folder, each file complete or not at all; the card last."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {name: _copied(tensor) for name, tensor in module.state_dict().items()}
    try:
        with complete_file(folder / WEIGHTS) as part:
            save_file(state, part)
    except SafetensorError as error:
        raise TenchError(f"{folder / WEIGHTS}: cannot be written ({error}).") from error
    write_text(folder / CARD, json.dumps(card.to_json(), indent=1) + "\n")


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU with memory of its own: safetensors refuses those of timm's CoaT, which share theirs.

    Each name of such a tensor is in the file, so that a program that knows nothing of the sharing reads it too.
    """
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def load(
    path: str | Path, device: str = "auto", *, model: OwnNetwork | None = None, trust_code: bool = False
) -> Classifier:
    """The classifier of a run directory, or of a .safetensors file that has its model.json beside it.

    model, trust_code: see `tench.load`. Raises UsageError if there is no such file or its network may not be imported,
    TenchError if the weights do not fit the network of the card.
    """
    path = user_path(path)
    state, card = read(path)
    if model is not None and not is_own(card.arch):
        raise UsageError(f"{path}: its network is {card.arch}, which needs no model=. Leave model= out.")
    if model is None and is_own(card.arch):
        remedy = (
            "Pass it again: tench.load(..., model=...)."
            if is_object(card.arch)
            else f"If you trust it, use --trust-code, or in Python tench.load(..., trust_code=True); "
            f"{card.arch.partition(':')[0]} must be importable."
        )
        model = trusted(card.arch, f"{_weights_of(path).with_name(CARD)}: arch", remedy, trust_code=trust_code)
    return classifier(state, card, str(_weights_of(path)), str(path), device, model)


def classifier(
    state: dict[str, torch.Tensor],
    card: ModelCard,
    file: str,
    source: str,
    device: str,
    own: OwnNetwork | None = None,
) -> Classifier:
    """The network of a card, or the user's own, with its weights, in evaluation mode. file: for error messages."""
    module = card.create_module(own)
    fit_state(module, state, file, card.arch)
    require_finite(state, file)
    return Classifier(module.to(choose_device(device)).eval(), card, source)


def read(path: Path) -> tuple[dict[str, torch.Tensor], ModelCard]:
    """Weights, on the CPU, and card of a run directory, or of a .safetensors file that has its model.json beside it.

    Raises UsageError when there is no such file, TenchError when one is damaged.
    """
    weights = _weights_of(path)
    card_path = weights.with_name(CARD)
    if not path.exists():
        raise UsageError(f"{path}: no such run directory or weights file.")
    if path.is_file() and path.suffix != SAFETENSORS:
        raise UsageError(f"{path}: " + _not_to_be_used(path))
    for needed, what in ((weights, "weights"), (card_path, "the description of the model")):
        if not needed.exists():
            raise UsageError(
                f"{needed}: is missing; it should hold {what}. Give the directory of a run that has finished an "
                f"epoch, or a .safetensors file with {CARD} beside it."
            )
    card = read_card(card_path.parent)
    return read_safetensors(weights), card


def _not_to_be_used(path: Path) -> str:
    """Why a weights file that is not safetensors cannot be used, and what to use instead."""
    if (path.parent / WEIGHTS).exists():
        return f"is not used: a run is loaded from its {WEIGHTS}. Give the run's directory: {path.parent}"
    return (
        "has neither classes nor preprocessing. Give the directory of a run, a .safetensors file "
        f"with {CARD} beside it, or published weights: torchvision:NAME, timm:NAME. To start training from "
        "it: tench train --weights."
    )


def _weights_of(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def read_card(folder: Path) -> ModelCard:
    """The model.json in a folder. Raises TenchError when it does not describe a model."""
    path = folder / CARD
    try:
        return ModelCard.from_json(read_json(path, Any))
    except OSError as error:
        raise PassingError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise TenchError(f"{path}: does not describe a model ({error}).") from error


def fit_state(module: nn.Module, state: dict[str, torch.Tensor], where: str, arch: str) -> None:
    """Load a state dict into a network. Raises TenchError naming the first difference when it is of another one."""
    problems = differences(module.state_dict(), state)
    if problems:
        raise TenchError(
            f"{where}: its weights do not fit {arch} for these classes: {first_of(problems)}. It was written for "
            "another architecture. Name that one, or start a new run."
        )
    module.load_state_dict(state)


def differences(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> list[str]:
    """The differences between a state dict and the expected one, in names and shapes, one clause each."""
    missing = [f"{name} is missing" for name in expected if name not in state]
    extra = [f"{name} is not part of it" for name in state if name not in expected]
    shared = [name for name in expected if name in state]
    of_other_shape = [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in shared
        if state[name].shape != expected[name].shape
    ]
    of_other_type = [
        f"{name} is of {state[name].dtype} instead of {expected[name].dtype}"
        for name in shared
        if _kind(state[name]) != _kind(expected[name])
    ]
    return missing + extra + of_other_shape + of_other_type


def _kind(tensor: torch.Tensor) -> tuple[bool, bool, torch.layout]:
    """What a tensor must share with one that it is copied to; the precision may differ."""
    return tensor.is_floating_point(), tensor.is_complex(), tensor.layout


def require_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise TenchError that names the tensors with NaN or infinity in them, if there are any."""
    bad = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise TenchError(
            f"{where}: {len(bad)} of its {len(state)} tensors hold NaN or infinity: {some(bad)}. The network cannot "
            "use them. The training that wrote them diverged, or the file is damaged. Use other weights."
        )


def first_of(problems: list[str]) -> str:
    """The first of several, and how many more there are."""
    if len(problems) == 1:
        return problems[0]
    return f"{problems[0]}, and {len(problems) - 1} more difference{'s' if len(problems) > 2 else ''}"
