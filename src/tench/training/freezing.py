"""Parameters that are no longer trained from some step on."""

from torch import nn

from tench.errors import UsageError, nearest, some


class Freezing:
    """Stops training some parameters at a given step.

    names: parameters or blocks, separated by spaces. at_step: the first step without them. Raises UsageError for a name
    that does not exist, and if nothing would be left to train.
    """

    def __init__(self, module: nn.Module, names: str, at_step: int) -> None:
        self._at_step = at_step
        parameters = dict(module.named_parameters())
        for asked in names.split():
            if not any(_is_named(name, asked) for name in parameters):
                blocks = list(dict.fromkeys(name.partition(".")[0] for name in parameters))
                raise UsageError(
                    f"freeze: {asked!r} is neither a parameter nor a block of the network.{nearest(asked, blocks)} Its "
                    f"blocks are {some(blocks, at_most=20)}; deeper ones are named as in {next(iter(parameters))}."
                )
        self._waiting = [
            parameter
            for name, parameter in parameters.items()
            if any(_is_named(name, asked) for asked in names.split())
        ]
        others = set(parameters.values()) - set(self._waiting)
        if self._waiting and not any(parameter.requires_grad for parameter in others):
            raise UsageError(f"freeze: {names!r} leaves nothing to train.")

    def __call__(self, step: int) -> None:
        """Call this before each step, counted from 0."""
        if step >= self._at_step:
            for parameter in self._waiting:
                parameter.requires_grad_(False)
                parameter.grad = None  # optimizers skip it then, with its momentum and decay
            self._waiting = []


def _is_named(name: str, asked: str) -> bool:
    return name == asked or name.startswith(f"{asked.removesuffix('.')}.")
