"""The training state, which a checkpoint contains in full."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import torch
from torch import nn

from tench.errors import TenchError, UsageError, counted
from tench.plain import PlainError, shown, typed
from tench.training.average import Lookahead, WeightAverage, floats
from tench.training.compiling import compiled_forward
from tench.training.optimizer import make_optimizer, state_of
from tench.training.recipe import Resolved
from tench.training.recipe_views import memory_format
from tench.training.schedule import total_steps, warmup_steps
from tench.weights.own import Best, fit_state


@dataclasses.dataclass
class State:
    """The training state. All of it is stored in last.ckpt, and resuming needs nothing else.

    step: steps taken. epochs: epochs finished, with their validation. totals: (loss sum, correct, images) of the
    current epoch, float64 on the device. first_bad: the first step whose loss was not finite, or -1. best: the metrics
    of the best epoch so far. seconds: time that processes spent on the run, validation included. forward: the function
    that a step calls, the module or its compiled form. average: the average of the weights, or None.
    """

    module: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | Lookahead | None
    totals: torch.Tensor
    first_bad: torch.Tensor
    step: int = 0
    epochs: int = 0
    seconds: float = 0.0
    best: Best | None = None
    _counted_at: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved: the average if there is one."""
        return self.average.module if isinstance(self.average, WeightAverage) else self.module

    def count_seconds(self) -> None:
        """Add the time since the last call, or since this process began with the run."""
        now = time.monotonic()
        self.seconds += now - self._counted_at
        self._counted_at = now

    def to_dict(self, arch: str) -> dict[str, Any]:
        """Everything that `load` needs, for last.ckpt."""
        self.count_seconds()
        return {
            "arch": arch,
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "totals": self.totals,
            "step": self.step,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "best": self.best,
        }

    def load(self, saved: Any, arch: str, where: str) -> None:
        """Load what `to_dict` returned, each value checked against its counterpart in this run.

        Raises TenchError for a checkpoint of another architecture and for anything that is not a checkpoint.
        """
        remedy = "Restore the run's own checkpoint, or name a new --run."
        try:
            checkpoint: Checkpoint = typed(saved, Checkpoint, "")
            if checkpoint["arch"] != arch:
                raise TenchError(
                    f"{where} is a checkpoint of {checkpoint['arch']}, but this run trains {arch}. {remedy}"
                )
            fit_state(self.module, checkpoint["model"], where, arch)
            self.module.load_state_dict(_fitting(checkpoint["model"], self.module.state_dict(), "model"))
            self._load_optimizer(checkpoint["optimizer"])
            self._load_scaler(checkpoint["scaler"])
            self._load_average(checkpoint["average"])
            self.totals.copy_(_fitting_tensor(checkpoint["totals"], self.totals, "totals"))
            self.step, self.epochs = checkpoint["step"], checkpoint["epochs"]
            self.seconds, self.best = checkpoint["seconds"], checkpoint["best"]
            if min(self.step, self.epochs, self.seconds) < 0:
                raise PlainError("step, epochs or seconds is less than 0")
        except PlainError as error:
            raise TenchError(f"{where} is not a checkpoint of this run: {error}. {remedy}") from error

    def _load_optimizer(self, saved: dict[str, Any]) -> None:
        """Load the optimizer's state of each parameter; its options come from the recipe.

        The shapes are checked because a fused optimizer writes into these tensors without checking their size.
        """
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        remembered = saved.get("state")
        if not isinstance(remembered, dict):
            raise PlainError(f"optimizer.state is {shown(remembered)}, but should be keys and values")
        state = {}
        for number, values in remembered.items():
            where = f"optimizer.state[{shown(number)}]"
            if type(number) is not int or not 0 <= number < len(parameters):
                raise PlainError(f"{where} belongs to no parameter; the network has {len(parameters)}")
            tensors = typed(values, dict[str, torch.Tensor], where)
            state[number] = _fitting(tensors, state_of(self.optimizer, parameters[number]), where)
        groups = self.optimizer.state_dict()["param_groups"]
        theirs = typed(saved.get("param_groups"), list[SavedGroup], "optimizer.param_groups")
        if len(theirs) != len(groups):
            raise PlainError(f"optimizer.param_groups has {len(theirs)} groups, but should have {len(groups)}")
        for group, other in zip(groups, theirs, strict=True):
            group["lr"] = other["lr"]  # the learning rate of the last step; the next step sets its own
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _load_scaler(self, saved: dict[str, Any]) -> None:
        expected = self.scaler.state_dict()
        if saved.keys() != expected.keys():
            raise PlainError(f"scaler has {shown(list(saved))}, but should have {shown(list(expected))}")
        values = {name: typed(saved[name], type(value), f"scaler.{name}") for name, value in expected.items()}
        if wrong := [name for name, value in values.items() if value < 0]:
            raise PlainError(f"scaler.{wrong[0]} is {values[wrong[0]]}, but should be 0 or more")
        self.scaler.load_state_dict(values)

    def _load_average(self, saved: dict[str, Any] | None) -> None:
        if self.average is None:
            typed(saved, None, "average")
            return
        expected = self.average.state_dict()
        if isinstance(self.average, WeightAverage):
            tensors = typed(saved, dict[str, torch.Tensor], "average")
            self.average.load_state_dict(_fitting(tensors, expected, "average"))
            return
        listed = typed(typed(saved, dict[str, Any], "average").get("average"), list[torch.Tensor], "average.average")
        tensors, ours = (
            {str(number): one for number, one in enumerate(some)} for some in (listed, expected["average"])
        )
        self.average.load_state_dict({"average": [*_fitting(tensors, ours, "average.average").values()]})


class SavedGroup(TypedDict):
    """The values that are loaded for a group of the optimizer's parameters."""

    lr: float


class Checkpoint(TypedDict):
    """The content of last.ckpt."""

    arch: str
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    average: dict[str, Any] | None
    totals: torch.Tensor
    step: int
    epochs: int
    seconds: float
    best: Best | None


def _fitting(
    saved: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], where: str
) -> dict[str, torch.Tensor]:
    """The saved tensors in the memory layout of the expected ones. Names, shapes and types must match."""
    if missing := [name for name in expected if name not in saved]:
        raise PlainError(f"{where}.{missing[0]} is missing")
    if extra := [name for name in saved if name not in expected]:
        raise PlainError(f"{where}.{shown(extra[0])} is unexpected")
    return {name: _fitting_tensor(saved[name], expected[name], f"{where}.{name}") for name in expected}


def _fitting_tensor(saved: torch.Tensor, expected: torch.Tensor, where: str) -> torch.Tensor:
    if saved.shape != expected.shape or saved.dtype != expected.dtype or saved.layout != torch.strided:
        raise PlainError(
            f"{where} is a tensor of shape {tuple(saved.shape)} and type {saved.dtype}, but should be of shape "
            f"{tuple(expected.shape)} and type {expected.dtype}"
        )
    if saved.is_meta or (saved.is_floating_point() and not saved.isfinite().all()):
        raise PlainError(f"{where} contains {'no values' if saved.is_meta else 'NaN or infinity'}")
    return torch.empty_like(expected).copy_(saved)


def new_state(module: nn.Module, recipe: Resolved, device: torch.device, steps_per_epoch: int = 1) -> State:
    """The state before the first step. Moves the module to the device."""
    module = module.to(device).to(memory_format=memory_format(recipe))  # type: ignore[call-overload]  # not in its stub
    return State(
        module=module,
        forward=compiled_forward(module) if recipe.training.compile == "on" else module,
        optimizer=make_optimizer(module, recipe.optimizer),
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.training.precision == "fp16"),
        average=_average(module, recipe, steps_per_epoch),
        totals=torch.zeros(3, dtype=torch.float64, device=device),
        first_bad=torch.full((), -1, dtype=torch.int64, device=device),
    )


def all_finite(module: nn.Module) -> bool:
    """Whether every parameter and buffer is finite. Waits for the device."""
    return bool(torch.stack([tensor.isfinite().all() for tensor in floats(module)]).all())


def _average(module: nn.Module, recipe: Resolved, steps_per_epoch: int) -> WeightAverage | Lookahead | None:
    asked = recipe.average
    if asked.average == "none":
        return None
    every, decay = asked.average_every, asked.average_decay
    if asked.average == "lookahead":
        steps = total_steps(recipe, steps_per_epoch)
        if steps < every:
            raise UsageError(
                f"The training has {counted(steps, 'step')}, but its average is updated every {every} steps, so it "
                "would never change. Train longer, or lower --average-every."
            )
        return Lookahead(module, steps, decay, every)
    if asked.average_form == "torchvision":
        decay = max(0.0, 1 - (1 - decay) * recipe.training.batch_size * every / recipe.training.epochs)
        return WeightAverage(module, decay, every, warmup=warmup_steps(recipe, steps_per_epoch))
    return WeightAverage(module, decay, every, ramp=asked.average_form == "timm")
