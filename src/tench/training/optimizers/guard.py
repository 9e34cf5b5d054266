"""What the optimizers here share: an update that is left out on the device, without the host asking why.

A loss that is not finite must not reach the weights, and a host that asked for it would wait for the device at each
step. So a caller says it as with torch's fused optimizers, by attributes that are set before `step()`; GradScaler sets
them itself: `found_inf`, a 0-dim float tensor (not 0: parameters and state stay as they are, bit for bit) and
`grad_scale`, a 0-dim tensor that the gradients are divided by, in place. Either may be missing.

What can be written as SGD of changed gradients leaves that to torch's fused kernel, where it is free. The others make
their step in place and take it back (`undone_where`): simple and exact, also where gradients are NaN, but a step takes
about twice as long, and a small launch for each of their tensors. Closures are not taken: a loop computes the gradients
before.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]
"""What torch's functions on many tensors take and give."""


# Numbers that are changed together. What a step needs besides them is reused from part to part; with all parameters at
# once it comes anew from the system in each step, and LAMB's on ResNet-50 takes 1.5 times as long on a CPU's core.
_PART_NUMBERS = 2**20


class GroupPart(NamedTuple):
    """A group's options and some of its parameters that have a gradient; gradients and state in the same order."""

    group: dict[str, Any]
    parameters: list[Tensor]
    gradients: list[Tensor]
    state: dict[str, list[Tensor]]


class GuardedOptimizer(torch.optim.Optimizer):
    """A torch optimizer that obeys `found_inf` and `grad_scale`. A subclass has its `new_state` and `_update`."""

    _step_supports_amp_scaling = True  # read by GradScaler, which else waits for the device itself

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch's takes a closure
        """Change the parameters by their gradients, unless `found_inf` says not to. Waits for nothing."""
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        grad_scale: Tensor | None = getattr(self, "grad_scale", None)
        parts = [part for group in self.param_groups for part in self._parts(group)]
        if grad_scale is not None:
            for part in parts:
                torch._foreach_div_(part.gradients, grad_scale)
        if parts:
            self._update(parts, None if found_inf is None else found_inf != 0)

    def _parts(self, group: dict[str, Any]) -> Iterator[GroupPart]:
        some: list[Tensor] = []
        numbers = 0
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            if some and numbers + parameter.numel() > _PART_NUMBERS:
                yield self._part(group, some)
                some, numbers = [], 0
            some.append(parameter)
            numbers += parameter.numel()
        if some:
            yield self._part(group, some)

    def _part(self, group: dict[str, Any], parameters: list[Tensor]) -> GroupPart:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = self.new_state(parameter)
        states = [self.state[parameter] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return GroupPart(group, parameters, gradients, {name: [state[name] for state in states] for name in states[0]})

    def new_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is remembered of a parameter, as before the first step."""
        raise NotImplementedError

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        """The step itself, which changes nothing where bad (0-dim bool; None: it is not known) is true."""
        raise NotImplementedError


@contextlib.contextmanager
def undone_where(bad: Tensor | None, *lists: Tensors) -> Iterator[None]:
    """Where bad (0-dim bool) is true, take back what the block does in place to tensors. None: never."""
    if bad is None:
        yield
        return
    tensors = [tensor for tensors in lists for tensor in tensors]
    before = torch._foreach_mul(tensors, 1)  # copies, in few launches
    yield
    for tensor, old in zip(tensors, before, strict=True):
        torch.where(bad, old, tensor, out=tensor)
