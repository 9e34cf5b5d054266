"""tench: from the archive you downloaded to a trained, checked image classifier.

The same words as on the command line: `open_source`, `prepare`, `fit`, `evaluate`, `predict`, `load`. Each is imported
when it is first used, so that `import tench` costs nothing. What a user can solve is raised as `TenchError`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tench.data.prepare.prepare import prepare
    from tench.data.source import open_source
    from tench.errors import TenchError
    from tench.evaluation.evaluate import evaluate_source as evaluate
    from tench.evaluation.predict import predict
    from tench.training.callbacks import EpochEnd, StopTraining
    from tench.training.fit import fit
    from tench.training.options import TrainOptions
    from tench.training.recipe import Recipe
    from tench.training.recipe_file import load_recipe
    from tench.weights.load import load

__version__ = "0.1.0"

__all__ = [
    "EpochEnd",
    "Recipe",
    "StopTraining",
    "TenchError",
    "TrainOptions",
    "evaluate",
    "fit",
    "load",
    "load_recipe",
    "open_source",
    "predict",
    "prepare",
]

_HOMES = {
    "EpochEnd": ("tench.training.callbacks", "EpochEnd"),
    "StopTraining": ("tench.training.callbacks", "StopTraining"),
    "TrainOptions": ("tench.training.options", "TrainOptions"),
    "Recipe": ("tench.training.recipe", "Recipe"),
    "TenchError": ("tench.errors", "TenchError"),
    "evaluate": ("tench.evaluation.evaluate", "evaluate_source"),
    "fit": ("tench.training.fit", "fit"),
    "load": ("tench.weights.load", "load"),
    "load_recipe": ("tench.training.recipe_file", "load_recipe"),
    "open_source": ("tench.data.source", "open_source"),
    "prepare": ("tench.data.prepare.prepare", "prepare"),
    "predict": ("tench.evaluation.predict", "predict"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tench' has no attribute {name!r}")
    import importlib

    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
