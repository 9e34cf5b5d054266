"""The base of the optimizers: an update can be skipped on the device, without the host waiting for it.

A loss that is not finite must not reach the weights, and checking it on the host would wait for the device at each
step. So the caller sets attributes before `step()`, as with torch's fused optimizers (GradScaler does it itself):
`found_inf`, a 0-dim float tensor (if it is not 0, not a bit of the parameters and the state changes), and `grad_scale`,
a 0-dim tensor by which the gradients are divided in place. Either may be missing.

Optimizers that are SGD on modified gradients use torch's fused kernel, where skipping is free. The others make their
step in place and undo it (`undone_where`): simple and exact even if gradients are NaN, but a step takes about twice as
long, plus a small launch per tensor. Closures are not supported: compute the gradients before the step.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]
"""What torch's foreach functions take and return."""


# Parameter elements that are updated together. Parts reuse each other's temporary memory. If all parameters are updated
# at once, each step requests it from the system again, and LAMB's step on ResNet-50 takes 1.5 times as long on one CPU
# core.
_PART_NUMBERS = 2**20


class GroupPart(NamedTuple):
    """A group's options and some of its parameters that have a gradient; gradients and state in the same order."""

    group: dict[str, Any]
    parameters: list[Tensor]
    gradients: list[Tensor]
    state: dict[str, list[Tensor]]


class GuardedOptimizer(torch.optim.Optimizer):
    """A torch optimizer that supports `found_inf` and `grad_scale`. A subclass defines `new_state` and `_update`."""

    _step_supports_amp_scaling = True  # read by GradScaler, which otherwise waits for the device itself

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch's takes a closure
        """Update the parameters from their gradients unless `found_inf` is set. Does not wait for the device."""
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
        """The state of a parameter before the first step."""
        raise NotImplementedError

    def _update(self, parts: list[GroupPart], bad: Tensor | None) -> None:
        """The step itself, which changes nothing if bad (0-dim bool; None: not known) is true."""
        raise NotImplementedError


@contextlib.contextmanager
def undone_where(bad: Tensor | None, *lists: Tensors) -> Iterator[None]:
    """If bad (0-dim bool) is true, undo what the block does in place to these tensors. None: never."""
    if bad is None:
        yield
        return
    tensors = [tensor for tensors in lists for tensor in tensors]
    before = torch._foreach_mul(tensors, 1)  # copies, in few launches
    yield
    for tensor, old in zip(tensors, before, strict=True):
        torch.where(bad, old, tensor, out=tensor)
