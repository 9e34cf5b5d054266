"""Parameters that are not trained from some step on."""

from torch import nn

from tench.errors import UsageError


class Freezing:
    """Takes parameters out of the training when their time has come.

    names: of parameters, or how those begin, with spaces between. at_step: the first step without them. Raises
    UsageError for a name that no parameter has, and where nothing would be left to train.
    """

    def __init__(self, module: nn.Module, names: str, at_step: int) -> None:
        self._at_step = at_step
        parameters = dict(module.named_parameters())
        for asked in names.split():
            if not any(_is_named(name, asked) for name in parameters):
                raise UsageError(
                    f"freeze: no parameter's name begins with {asked!r}. They begin with "
                    f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in parameters))}."
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
        """To be called before each step, counted from 0."""
        if step >= self._at_step:
            for parameter in self._waiting:
                parameter.requires_grad_(False)
                parameter.grad = None  # an optimizer leaves out what has no gradient, its momentum and decay too
            self._waiting = []


def _is_named(name: str, asked: str) -> bool:
    return name == asked or name.startswith(f"{asked.removesuffix('.')}.")
