"""What changes while training, in one place: what a checkpoint holds."""

import dataclasses
import time
from typing import Any

import torch
from torch import nn

from tench.errors import TenchError, UsageError
from tench.training.average import Average, Lookahead, floats
from tench.training.compiling import compiled_forward
from tench.training.optimizer import make_optimizer
from tench.training.recipe import Recipe
from tench.training.recipe_views import memory_format
from tench.training.schedule import total_steps, warmup_steps
from tench.weights.own import fit_state


@dataclasses.dataclass
class State:
    """What changes while training: all of it goes into last.ckpt, and resuming needs nothing else.

    step, epochs: taken, and finished with their validation. totals: of the current epoch, on the device: (loss sum,
    correct, images) float64. first_bad: the first step whose loss was not finite, -1 while there is none. best: the
    metrics of the best epoch so far. seconds: since the run began, validation included, while a process worked on it.
    forward: what a step calls: the module, or the module compiled. average: of the weights, or None.
    """

    module: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | Lookahead | None
    totals: torch.Tensor
    first_bad: torch.Tensor
    step: int = 0
    epochs: int = 0
    seconds: float = 0.0
    best: dict[str, float] | None = None
    _counted_at: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved: the average where there is one."""
        return self.average.module if isinstance(self.average, Average) else self.module

    def count_seconds(self) -> None:
        """Add the time since the last call, or since this process began with the run."""
        now = time.monotonic()
        self.seconds += now - self._counted_at
        self._counted_at = now

    def to_dict(self, arch: str) -> dict[str, Any]:
        """All that `load` needs, for last.ckpt."""
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

    def load(self, saved: dict[str, Any], arch: str, where: str) -> None:
        """Take over what `to_dict` gave. Raises TenchError for another architecture's, or no checkpoint at all."""
        remedy = "Put the run's own checkpoint back, or name a new --run."
        try:
            if saved["arch"] != arch:
                raise TenchError(f"{where}: is a checkpoint of {saved['arch']}, but this run trains {arch}. {remedy}")
            fit_state(self.module, saved["model"], where, arch)
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
            if self.average is not None:
                self.average.load_state_dict(saved["average"])
            self.totals.copy_(saved["totals"])
            self.step, self.epochs = saved["step"], saved["epochs"]
            self.seconds, self.best = saved["seconds"], saved["best"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TenchError(f"{where}: is no checkpoint of tench's ({error!r}). {remedy}") from error


def new_state(module: nn.Module, recipe: Recipe, device: torch.device, steps_per_epoch: int = 1) -> State:
    """The state before the first step of a resolved recipe. module: moved to the device."""
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
    """Whether each parameter and buffer is. Waits for the device."""
    return bool(torch.stack([tensor.isfinite().all() for tensor in floats(module)]).all())


def _average(module: nn.Module, recipe: Recipe, steps_per_epoch: int) -> Average | Lookahead | None:
    asked = recipe.average
    if asked.average == "none":
        return None
    assert asked.average_every != "auto"
    assert asked.average_decay != "auto"
    every, decay = asked.average_every, asked.average_decay
    if asked.average == "lookahead":
        steps = total_steps(recipe, steps_per_epoch)
        if steps < every:
            raise UsageError(
                f"The training has {steps} steps, but its average is updated every {every}: it would never learn. "
                "Train longer, or lower --average-every."
            )
        return Lookahead(module, steps, decay, every)
    if asked.average_form == "torchvision":
        decay = max(0.0, 1 - (1 - decay) * recipe.training.batch_size * every / recipe.training.epochs)
        return Average(module, decay, every, warmup=warmup_steps(recipe, steps_per_epoch))
    return Average(module, decay, every, ramp=asked.average_form == "timm")
