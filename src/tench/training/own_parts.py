"""The user's own network, loss, policy and batch augmentation, and what the recipe says about them.

A recipe stores the name of such code (`own_code`). The code itself is passed from Python or named in the command; code
that only a recipe or run names is imported if the user trusts it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tench.errors import TenchError, UsageError
from tench.files import shell_command
from tench.models.own_network import OwnNetwork, is_own
from tench.models.registry import nearest_system
from tench.own_code import (
    code_name,
    errors_name,
    import_code,
    import_from_here,
    is_object,
    names_code,
    trusted,
)
from tench.run import Run
from tench.training.callbacks import Callback
from tench.training.loss import Loss
from tench.training.recipe import Recipe
from tench.training.step import BatchStep

Policy = Callable[[npt.NDArray[np.uint8], np.random.Generator], npt.NDArray[np.uint8]]
"""Changes one training image after its crop: (H, W, C) uint8 and a generator -> (H, W, C) uint8."""

BatchAugment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Changes a batch on the device: images (B, C, H, W) float32 and targets -> images and targets."""


@dataclasses.dataclass(frozen=True)
class OwnParts:
    """The user's own code for one training. None: the recipe's value is used."""

    model: OwnNetwork | None = None
    loss: Loss | None = None
    policy: Policy | None = None
    augment: BatchAugment | None = None


_VALUES = {
    "model": ("model", "arch", "-a"),
    "loss": ("training", "loss", "--loss"),
    "policy": ("augment", "policy", "--policy"),
    "augment": ("augment", "augment_batch", "--augment-batch"),
}
"""For each part: section, name and flag of the recipe's value that names it."""


def settle(recipe: Recipe, given: OwnParts, where: str, *, trust_code: bool) -> tuple[Recipe, OwnParts]:
    """The recipe with the names of the given code, and the code that the recipe names.

    where: the recipe, for messages. Raises UsageError if something other than code is given, if it conflicts with the
    recipe, or if the recipe names code that is neither given nor trusted. A network replaces the recipe's, as -a does.
    """
    parts = {}
    for part, (section, name, _) in _VALUES.items():
        code, value = getattr(given, part), getattr(getattr(recipe, section), name)
        if code is None:
            parts[part] = _named(part, value, where, trust_code=trust_code) if _is_code(part, value) else None
            continue
        if not callable(code):
            raise UsageError(f"{part} must be callable, got {type(code).__name__}.")
        if part != "model" and value not in (_UNSET[part], code_name(code)):
            raise UsageError(
                f"{where}: {section}.{name} is {value}, but the argument {part} is another one. Leave one of them out."
            )
        recipe = recipe.replace(**{name: code_name(code)})
        parts[part] = code
    return recipe, OwnParts(**parts)


_UNSET = {"loss": "cross-entropy", "policy": "none", "augment": "none"}


def own_code(named: Recipe, *, trust_code: bool) -> dict[str, Any]:
    """The code that a command names, imported, as arguments of `fit`. named: the recipe with the command's values only.

    Modules in the current directory can be imported, including those that `fit` itself imports if trust_code is set.
    Raises as `import_code` does.
    """
    code = _code_names(named)
    if code or trust_code:
        import_from_here()
    imported = {}
    for part, name in code.items():
        if is_object(name):
            continue
        try:
            imported[part] = import_code(name)
        except UsageError as error:
            if part == "model" and (hint := nearest_system(name.partition(":")[0])):
                raise UsageError(*error.args, f"Networks of other systems are named SYSTEM:NAME.{hint}") from error
            raise
    return imported


def _code_names(recipe: Recipe) -> dict[str, str]:
    """The names of the user's code in a recipe, by part."""
    names = {part: getattr(getattr(recipe, section), name) for part, (section, name, _) in _VALUES.items()}
    return {part: name for part, name in names.items() if _is_code(part, name)}


def _is_code(part: str, name: str) -> bool:
    """Whether a recipe's value for a part names the user's code."""
    return is_own(name) if part == "model" else names_code(name)


def named_model(recipe: Recipe, where: str, *, trust_code: bool) -> OwnNetwork | None:
    """The network that the recipe names, if it names code. Raises as `settle` does."""
    arch = recipe.model.arch
    return _named("model", arch, where, trust_code=trust_code) if is_own(arch) else None


def _named(part: str, value: str, where: str, *, trust_code: bool) -> Any:
    section, name, flag = _VALUES[part]
    remedy = (
        f"Pass it again: tench.fit(..., {part}=...)."
        if is_object(value)
        else f"Name it in the command: {flag} {value}, or pass it: tench.fit(..., {part}=...). To import all code that "
        "the recipe names: --trust-code, TrainOptions(trust_code=True)."
    )
    return trusted(value, f"{where}: {section}.{name}", remedy, trust_code=trust_code)


def continue_with(run: Run, recipe: Recipe, callbacks: Sequence[Callback]) -> str:
    """How to continue a run: a command or, if code has to be passed again, a call."""
    code = _code_names(recipe)
    folder = run.folder.absolute()
    if callbacks or any(map(is_object, code.values())):
        again = [*code, *(["callbacks"] if callbacks else [])]
        return f"tench.fit({', '.join([f'run={str(folder)!r}', *(f'{part}=...' for part in again)])})"
    flags = [word for part, value in code.items() for word in (_VALUES[part][2], value)]
    return shell_command("tench", "train", *flags, "--run", folder)


@dataclasses.dataclass(frozen=True)
class CheckedAugment:
    """The user's augmentation of a batch, called after the recipe's, with its results checked.

    num_classes: K. before: what the recipe does with the batch.
    """

    function: BatchAugment
    num_classes: int
    before: BatchStep

    def __call__(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The images and targets of a step. images: (B, C, H, W) float32, normalised. labels: (B,) int64.

        Raises TenchError if the function fails or returns something else. Does not wait for the device.
        """
        images, targets = self.before(images, labels, step)
        name = code_name(self.function)
        with errors_name(name, f"called with {_shape(images)} images and {_shape(targets)} targets"):
            found: Any = self.function(images, targets)
        if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(part, Tensor) for part in found):
            raise TenchError(f"{name} returned {type(found).__name__}, expected a tuple (images, targets) of tensors.")
        new_images, new_targets = found
        if new_images.ndim != 4 or new_images.shape[:2] != images.shape[:2] or 0 in new_images.shape:
            raise TenchError(
                f"{name} returned images of shape {_shape(new_images)}, expected ({images.shape[0]}, "
                f"{images.shape[1]}, H, W)."
            )
        if new_images.dtype != torch.float32:
            raise TenchError(f"{name} returned images of type {new_images.dtype}, expected float32.")
        if others := {str(part.device) for part in found} - {str(images.device)}:
            raise TenchError(f"{name} returned a tensor on {others.pop()}, expected {images.device}.")
        labels = new_targets.shape == images.shape[:1] and new_targets.dtype == torch.int64
        shares = new_targets.shape == (len(images), self.num_classes) and new_targets.is_floating_point()
        if not labels and not shares:
            raise TenchError(
                f"{name} returned targets of shape {_shape(new_targets)} and type {new_targets.dtype}, expected int64 "
                f"labels of shape ({len(images)},) or floating point of shape ({len(images)}, {self.num_classes})."
            )
        if labels and new_targets.device.type == "cpu":  # elsewhere the check would wait for the device
            low, high = int(new_targets.min()), int(new_targets.max())
            if low < 0 or high >= self.num_classes:
                raise TenchError(f"{name} returned labels from {low} to {high}, expected 0 to {self.num_classes - 1}.")
        return new_images, new_targets


@dataclasses.dataclass(frozen=True)
class CheckedLoss:
    """The user's loss, whose errors name it, with its result checked. Does not wait for the device."""

    function: Loss

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        name = code_name(self.function)
        with errors_name(name, f"called with {_shape(logits)} logits and {_shape(targets)} targets"):
            value: Any = self.function(logits, targets)
        _require_scalar(value, name)
        return cast(Tensor, value)


def _require_scalar(loss: Any, name: str) -> None:
    """Raise TenchError unless a loss is a scalar tensor with a gradient."""
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        found = f"a tensor of shape {_shape(loss)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TenchError(f"{name} returned {found}, expected a scalar tensor: the mean over the images.")
    if not loss.requires_grad:
        raise TenchError(f"{name} returned a loss without a gradient. Compute it from the logits with torch.")


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.ndim == 1 else ''})"


def require_loss(loss: Loss, num_classes: int, device: torch.device, *, mixed: bool) -> None:
    """Raise TenchError unless the user's loss of four images is a finite scalar with a finite gradient.

    mixed: whether the training has targets (B, num_classes) rather than labels.
    """
    name = code_name(loss)
    if isinstance(loss, torch.nn.Module):
        if any(parameter.requires_grad for parameter in loss.parameters()):
            raise UsageError(f"{name} has its own parameters, which would not be trained. Make them buffers.")
        loss.to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = torch.randn(4, num_classes).to(device).requires_grad_()
    labels = torch.arange(4, device=device) % num_classes
    targets = torch.nn.functional.one_hot(labels, num_classes).float() if mixed else labels
    before = targets.clone()
    with errors_name(name, f"called with {_shape(logits)} logits and {_shape(targets)} targets"):
        value: Any = loss(logits, targets)
    _require_scalar(value, name)
    if not torch.equal(targets, before):
        raise TenchError(f"{name} changes its targets in place. Change a copy of them instead.")
    with errors_name(name, "differentiated"):
        (gradient,) = torch.autograd.grad(value, logits, allow_unused=True)
    if gradient is None:
        raise TenchError(f"{name} returned a loss that does not depend on the logits.")
    if not value.isfinite() or not gradient.isfinite().all():
        what = "its gradient" if value.isfinite() else "it"
        raise TenchError(f"{name} returned a loss of {value.item():g} for random logits, and {what} is not finite.")
