"""Parameters that stop being trained at a certain step."""

from torch import nn

from tench.errors import UsageError, nearest


class Freezing:
    """Stops training parameters from a step on.

    names: separated by spaces, each the name of a parameter or its first parts (layer1, layer1.0). at_step: the first
    step without them. Raises UsageError if a name matches no parameter, or if nothing would be left to train.
    """

    def __init__(self, module: nn.Module, names: str, at_step: int) -> None:
        self._at_step = at_step
        parameters = dict(module.named_parameters())
        first_parts = list(dict.fromkeys(name.partition(".")[0] for name in parameters))
        for asked in names.split():
            if not any(_is_named(name, asked) for name in parameters):
                raise UsageError(
                    f"freeze: no parameter is called {asked!r} or begins with '{asked.removesuffix('.')}.'; only whole "
                    f"parts of a name match.{nearest(asked, first_parts)} The first parts are {', '.join(first_parts)}."
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
                parameter.grad = None  # an optimizer skips a parameter without a gradient, its momentum and decay too
            self._waiting = []


def _is_named(name: str, asked: str) -> bool:
    return name == asked or name.startswith(f"{asked.removesuffix('.')}.")
