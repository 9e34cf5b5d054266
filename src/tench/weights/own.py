"""The weights of a run, `best.safetensors`, and `model.json`, which describes how to use them and how good they are."""

import concurrent.futures
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tench.arguments import checked_arguments
from tench.data.handled import Policy
from tench.data.images.orientation import Exif
from tench.data.options import SourceOptions
from tench.data.table import Classes
from tench.errors import PassingError, TenchError, UsageError, counted, some
from tench.files import is_there, user_path, write_text
from tench.input.given import Given, Images, given_images
from tench.input.resampling import Interpolation
from tench.input.views import EvalView, TestTime
from tench.machine import choose_device, num_threads
from tench.models import create
from tench.models.mxnet.graph import Graph, read_graph
from tench.models.mxnet.symbol import SymbolNetwork, build_symbol
from tench.models.own_network import OwnNetwork, checked_network, create_own, is_own
from tench.models.source import AS_MADE, ModelOptions
from tench.own_code import is_object, trusted
from tench.plain import read_json, typed
from tench.weights.files import complete_safetensors, read_safetensors
from tench.weights.prediction import Guess, Prediction, Predictions
from tench.weights.recognise import CARD, GRAPH, IMAGES, SAFETENSORS, WEIGHTS
from tench.weights.test_time import at_test_time, test_time_view

NOT_FINITE = "the network's logits are not finite (NaN or infinity): its weights or its input range are wrong"
"""Why an image has no answer."""

_AT_ONCE = 64
"""Images per forward pass. It limits the memory for any number of images."""

_MAX_SIDE = 16_384
"""Largest side of a network's input in pixels, more than any network uses."""
_STD_RANGE = (1e-6, 1e6)
"""Outside this range, float32 values soon overflow."""

_Item = TypeVar("_Item")


class Best(TypedDict):
    """The metrics of the best epoch so far; epochs are counted from 1."""

    epoch: int
    top1: float
    top5: float
    loss: float


class TrainedOn(TypedDict, total=False):
    """What a run records about its data in model.json and environment.json; see `training.plan.Data.facts`."""

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
    """What is needed to use weights: the network, its classes, and the preprocessing."""

    arch: str
    classes: Classes
    channels: int
    image_size: int
    eval_resize: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels in the network's input, and of mean and std."""
    squash: bool = False
    """Whether both sides of an image are resized to eval_resize, which changes its aspect ratio."""
    exif: Exif = "ignore"
    """Whether the EXIF orientation of images is applied. If a card lacks this value, the training ignored the
    orientation."""
    test_time: TestTime = "none"
    """The views of an image that are averaged."""
    options: ModelOptions = AS_MADE
    """Options that the network was created with."""
    metrics: dict[str, int | float] = dataclasses.field(default_factory=dict)
    """Results of the validation that chose these weights: epoch, top1 and top5 as fractions, loss."""
    trained_on: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The training data, see `TrainedOn`; empty if unknown."""
    graph: Graph | None = None
    """The network, if `arch` is that of an MXNet symbol; stored as symbol.json."""

    @property
    def view(self) -> EvalView:
        """The view of an image that the network sees."""
        return EvalView(
            size=self.image_size, resize=self.eval_resize, interpolation=self.interpolation, squash=self.squash
        )

    @property
    def test_view(self) -> EvalView:
        """The view of an image that `averaged` uses. It is larger than `view` if the network averages over crops."""
        return test_time_view(self.view, self.test_time)

    def create_module(self, own: OwnNetwork | None = None) -> nn.Module:
        """The network with fresh weights. own: the user's network, used instead of the one that `arch` names."""
        size = {"image_size": self.image_size, "channels": self.channels}
        if own is not None:
            return create_own(own, num_classes=len(self.classes), options=self.options, **size)
        if self.graph is not None:
            return build_symbol(self.graph, num_classes=len(self.classes), **size)
        return create(self.arch, num_classes=len(self.classes), options=self.options, **size)

    def normalise(self, device: torch.device) -> "Normalise":
        return Normalise(self.mean, self.std, device, channel_order=self.channel_order)

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "graph"}
        return values | {"classes": self.classes.to_json(), "options": dataclasses.asdict(self.options)}

    def require_valid(self) -> None:
        """Raise ValueError for the first value that no network accepts."""
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
        """The card from the JSON value that `to_json` returns. Raises ValueError naming a wrong key."""
        card: ModelCard = typed(data, cls, "")
        if card.trained_on:
            trained_on: TrainedOn = typed(card.trained_on, TrainedOn, "trained_on")
            SourceOptions.from_json(trained_on.get("options", {}), "trained_on.options")
        card.require_valid()
        return card


class Normalise:
    """Turns uint8 pixels into the network's input: (pixels / 255 - mean) / std, with a mean and std per channel.

    channel_order: rgb or bgr, the order of the input, mean and std; pixels are always RGB.
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
        """images: (B, C, H, W) uint8. Returns float32 of the same shape, in the given memory format."""
        if self._is_reversed:
            images = images.flip(1)  # bytes are a quarter of the size of floats
        return images.float().sub_(self._mean).div_(self._std).contiguous(memory_format=self._memory_format)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained network, ready for use.

    >>> import numpy as np, tench
    >>> run = tench.fit("digits", recipe=tench.load_recipe("digits").replace(epochs=1))
    >>> classifier = tench.load(run)
    >>> classifier.predict(np.zeros((8, 8), np.uint8)).shape
    (1, 10)
    """

    module: nn.Module
    """The network in evaluation mode: accepts normalised float32 (B, C, H, W), returns logits (B, classes)."""
    card: ModelCard
    """Its classes, preprocessing and training data."""
    source: str
    """The run directory, weights file or published name that it was loaded from."""
    whole_images: bool = False
    """Whether the network accepts whole images, uint8 of any size, and resizes them itself."""

    @property
    def classes(self) -> Classes:
        """The classes in the order of the network's outputs."""
        return self.card.classes

    @property
    def view(self) -> EvalView:
        """The view of an image that the network sees."""
        return self.card.view

    @property
    def averaged(self) -> nn.Module:
        """The network as it was validated: averaged over views of `card.test_view` if `card.test_time` says so."""
        checked = checked_network(self.module, self.card.arch, len(self.classes))
        return at_test_time(checked, self.card.test_time, size=self.card.image_size)

    @checked_arguments("images")
    def predict(self, images: Images, *, top: int = 5, threads: int = 0) -> Predictions:
        """The most likely classes of images, and the probabilities of all classes.

        images: one image or several; see `tench.input.given`. top: how many classes each prediction lists. threads: 0
        means one per core.

        For an image that cannot be decoded, the prediction has an `error`, and the other images are still classified.
        The probabilities of all images are kept in memory; `stream` does not keep them. Raises UsageError for a value
        that is not an image and for a missing path.
        """
        require_top(top)
        items, rows = [], [np.zeros((0, len(self.classes)), np.float32)]
        for name, answer in self._answers(given_images(images), threads):
            items.append(self._prediction(name, answer, top))
            rows.append(
                np.full((1, len(self.classes)), np.nan, np.float32) if isinstance(answer, str) else answer[None]
            )
        return Predictions(tuple(items), np.concatenate(rows))

    @checked_arguments("images")
    def stream(self, images: Images, *, top: int = 5, threads: int = 0) -> Iterator[Prediction]:
        """Like `predict`, but yields the predictions one by one, for any number of images. The arguments are checked at
        once."""
        require_top(top)
        answers = self._answers(given_images(images), threads)
        return (self._prediction(name, answer, top) for name, answer in answers)

    @checked_arguments("images")
    def probabilities(self, images: Images, *, threads: int = 0) -> npt.NDArray[np.float32]:
        """The probability of each class for images: (images, classes) float32.

        images: as for `predict`. Raises TenchError naming the first image without an answer.
        """
        given = given_images(images)
        found = np.zeros((len(given), len(self.classes)), np.float32)
        for row, (name, answer) in enumerate(self._answers(given, threads)):
            if isinstance(answer, str):
                raise TenchError(f"{name}: {answer}")
            found[row] = answer
        return found

    def _answers(self, images: Sequence[Given], threads: int) -> Iterator[tuple[str, npt.NDArray[np.float32] | str]]:
        """For each image (name, probabilities (classes,) or the reason why there are none)."""

        def view(image: Given) -> npt.NDArray[np.uint8] | str:
            try:
                pixels = image.pixels(self.card.channels, upright=self.card.exif == "apply")
                return pixels if self.whole_images else self.card.test_view.pixels(pixels)
            except TenchError as error:
                return str(error).removeprefix(f"{image.name}: ")

        with concurrent.futures.ThreadPoolExecutor(num_threads(threads)) as pool:
            for part in in_batches(images):  # at most one batch of views is in memory
                views = list(pool.map(view, part))
                found = iter(self.of_views([pixels for pixels in views if not isinstance(pixels, str)]))
                for image, pixels in zip(part, views, strict=True):
                    answer = pixels if isinstance(pixels, str) else next(found)
                    is_finite = isinstance(answer, str) or np.isfinite(answer).all()
                    yield image.name, answer if is_finite else NOT_FINITE

    def _prediction(self, name: str, answer: npt.NDArray[np.float32] | str, top: int) -> Prediction:
        if isinstance(answer, str):
            return Prediction(name, error=answer)
        best = np.argsort(-answer, kind="stable")[:top].tolist()
        ids, names = self.classes.ids, self.classes.names
        return Prediction(name, tuple(Guess(ids[index], names[index], float(answer[index])) for index in best))

    def of_views(self, views: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Class probabilities for uint8 views cut by `card.test_view`, or for whole images if the network accepts them:
        (len(views), classes) float32.

        A row is NaN if not all logits are finite.
        """
        device = next(self.module.parameters()).device
        network, normalise = self.averaged, self.card.normalise(device)
        found = [np.zeros((0, len(self.classes)), dtype=np.float32)]
        with torch.inference_mode():
            for part in in_batches(views, 1 if self.whole_images else _AT_ONCE):
                pixels = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).to(device)
                logits = network(normalise(pixels)).float()
                answer = logits.softmax(dim=1).masked_fill(~logits.isfinite().all(dim=1, keepdim=True), torch.nan)
                found.append(answer.cpu().numpy())
        return np.concatenate(found)


def require_top(top: int) -> None:
    """Raise UsageError if the number of classes to list is below 1."""
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}.")


def in_batches(items: Sequence[_Item], size: int = _AT_ONCE) -> Iterator[Sequence[_Item]]:
    """The sequence in batches, by default of the size that a classifier takes at once; the last one may be smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))


def save(folder: Path, module: nn.Module, card: ModelCard) -> None:
    """Write weights and then the card into a folder, each file completely or not at all."""
    from safetensors.torch import save_file

    state = {name: plain_copy(tensor) for name, tensor in module.state_dict().items()}
    with complete_safetensors(folder / WEIGHTS) as part:
        save_file(state, part)
    if card.graph is not None:
        write_graph(folder, card.graph)
    write_text(folder / CARD, json.dumps(card.to_json(), indent=1) + "\n")


def write_graph(folder: Path, graph: Graph) -> None:
    """Write the graph of a network that only MXNet's symbol describes."""
    write_text(folder / GRAPH, json.dumps(graph.to_json()) + "\n")


def plain_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor on the CPU. safetensors refuses tensors that share memory, as those of timm's CoaT do.

    Shared tensors are written once per name, so that programs that do not know about the sharing can read them.
    """
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def load(
    path: str | Path, device: str | torch.device = "auto", *, model: OwnNetwork | None = None, trust_code: bool = False
) -> Classifier:
    """Load a classifier from a run directory, or from a .safetensors file with its model.json in the same folder.

    model, trust_code: see `tench.load`. Raises UsageError if there is no such file or importing its network is not
    allowed, TenchError if the weights do not fit the network in the card.
    """
    path = user_path(path)
    state, card = read(path)
    if model is not None and not is_own(card.arch):
        raise UsageError(f"{path}: its network is {card.arch}, which comes with tench. Leave model= out.")
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
    device: str | torch.device,
    own: OwnNetwork | None = None,
) -> Classifier:
    """The network of a card, or the user's own, with the weights loaded, in evaluation mode. file: for error
    messages."""
    module = card.create_module(own)
    fit_state(module, state, file, card.arch)
    require_finite(state, file)
    return Classifier(module.to(choose_device(device)).eval(), card, source)


def read(path: Path) -> tuple[dict[str, torch.Tensor], ModelCard]:
    """Read the weights (on the CPU) and the card of a run directory, or of a .safetensors file with its model.json.

    Raises UsageError if a file is missing, TenchError if one is damaged.
    """
    if not is_there(path):
        raise UsageError(f"{path}: no such run directory or weights file.")
    weights = _weights_of(path)
    card_path = weights.with_name(CARD)
    if path.is_file() and (path.suffix != SAFETENSORS or path.name == IMAGES):
        raise UsageError(f"{path}: {_unusable(path)}")
    for needed, what in ((weights, "the weights"), (card_path, "the description of the model")):
        if not is_there(needed):
            raise UsageError(
                f"{needed} is missing; it should contain {what}. Pass the directory of a run that has finished an "
                f"epoch, or a .safetensors file with {CARD} in the same folder."
            )
    card = read_card(card_path.parent)
    if card.arch == SymbolNetwork.ARCH:
        card = dataclasses.replace(card, graph=read_graph(card_path.with_name(GRAPH)))
    return read_safetensors(weights), card


def _unusable(path: Path) -> str:
    """Why a file cannot be used as weights, and what to use instead."""
    if is_there(path.parent / WEIGHTS):
        return f"a run is loaded from its {WEIGHTS}. Pass the run directory: {path.parent}"
    return (
        f"the file describes neither classes nor preprocessing. Pass a run directory, a .safetensors file with {CARD} "
        "in the same folder, or published weights: torchvision:NAME, timm:NAME. To fine-tune these weights, use tench "
        "train --weights."
    )


def _weights_of(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def read_card(folder: Path) -> ModelCard:
    """Read the model.json in a folder. Raises TenchError if it does not describe a model."""
    path = folder / CARD
    try:
        return ModelCard.from_json(read_json(path, Any))
    except OSError as error:
        raise PassingError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise TenchError(f"{path} does not describe a model ({error}).") from error


def fit_state(module: nn.Module, state: dict[str, torch.Tensor], where: str, arch: str) -> None:
    """Load a state dict into a network. Raises TenchError naming the first difference if it does not fit."""
    problems = differences(module.state_dict(), state)
    if problems:
        raise TenchError(
            f"{where}: the weights do not fit {arch} for these classes: {first_of(problems)}. They belong to another "
            "architecture. Name that architecture, or start a new run."
        )
    module.load_state_dict(state)


def differences(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> list[str]:
    """The differences between a state dict and the expected one in names, shapes and types, one clause each."""
    missing = [f"{name} is missing" for name in expected if name not in state]
    extra = [f"{name} is unexpected" for name in state if name not in expected]
    shared = [name for name in expected if name in state]
    of_other_shape = [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in shared
        if state[name].shape != expected[name].shape
    ]
    of_other_type = [
        f"{name} has type {state[name].dtype} instead of {expected[name].dtype}"
        for name in shared
        if _kind(state[name]) != _kind(expected[name])
    ]
    return missing + extra + of_other_shape + of_other_type


def _kind(tensor: torch.Tensor) -> tuple[bool, bool, torch.layout]:
    """The properties that a tensor must share with its destination. The precision may differ."""
    return tensor.is_floating_point(), tensor.is_complex(), tensor.layout


def require_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise TenchError naming the tensors that contain NaN or infinity, if there are any."""
    bad = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise TenchError(
            f"{where}: {len(bad)} of {counted(len(state), 'tensor')} {'has' if len(bad) == 1 else 'have'} NaN or "
            f"infinite values: {some(bad)}. The training that wrote them diverged, or the file is damaged. Use other "
            "weights."
        )


def first_of(problems: list[str]) -> str:
    """The first of several differences, and how many more there are."""
    if len(problems) == 1:
        return problems[0]
    return f"{problems[0]}, and {counted(len(problems) - 1, 'more difference')}"
