"""tench: from the archive you downloaded to a trained, checked image classifier.

The public names, with the same words and defaults as the command line; docs/api.md documents each. A name is imported
when it is first used, so that `import tench` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tench.data.check.check import Report
    from tench.data.check.check_source import check_source as check
    from tench.data.download.download import download
    from tench.data.images.encode import Encoding
    from tench.data.info import info
    from tench.data.options import SourceOptions
    from tench.data.prepare.planning import PrepareOptions
    from tench.data.prepare.prepare import Prepared, prepare
    from tench.data.source import open_source
    from tench.data.table import Classes, Dataset, Table
    from tench.errors import PassingError, TenchError, UsageError
    from tench.evaluation.evaluate import evaluate
    from tench.evaluation.evaluation import ClassResult, Evaluation
    from tench.evaluation.predict import predict
    from tench.exporting.compare import Comparison
    from tench.exporting.convert import convert_weights
    from tench.exporting.export import export
    from tench.input.loader import Batch
    from tench.input.torch_dataset import TorchDataset
    from tench.models.info import ModelInfo
    from tench.models.info import describe as model_info
    from tench.models.registry import find as list_models
    from tench.run import Run
    from tench.training.batch_loader import BatchLoader, loader
    from tench.training.callbacks import EpochEnd, StopTraining
    from tench.training.fit import fit
    from tench.training.options import TrainOptions
    from tench.training.preview import preview
    from tench.training.recipe import Recipe
    from tench.training.recipe_file import load_recipe
    from tench.training.recipe_file import packaged_recipes as list_recipes
    from tench.training.stopping import StoppedError
    from tench.weights.create import create_model
    from tench.weights.describe import WeightsInfo, weights_info
    from tench.weights.load import load
    from tench.weights.own import Classifier
    from tench.weights.prediction import Guess, Prediction, Predictions

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "BatchLoader",
    "ClassResult",
    "Classes",
    "Classifier",
    "Comparison",
    "Dataset",
    "Encoding",
    "EpochEnd",
    "Evaluation",
    "Guess",
    "ModelInfo",
    "PassingError",
    "Prediction",
    "Predictions",
    "PrepareOptions",
    "Prepared",
    "Recipe",
    "Report",
    "Run",
    "SourceOptions",
    "StopTraining",
    "StoppedError",
    "Table",
    "TenchError",
    "TorchDataset",
    "TrainOptions",
    "UsageError",
    "WeightsInfo",
    "check",
    "convert_weights",
    "create_model",
    "download",
    "evaluate",
    "export",
    "fit",
    "info",
    "list_models",
    "list_recipes",
    "load",
    "load_recipe",
    "loader",
    "model_info",
    "open_source",
    "predict",
    "prepare",
    "preview",
    "weights_info",
]

_HOMES = {
    "Batch": "tench.input.loader",
    "BatchLoader": "tench.training.batch_loader",
    "ClassResult": "tench.evaluation.evaluation",
    "Classes": "tench.data.table",
    "Classifier": "tench.weights.own",
    "Comparison": "tench.exporting.compare",
    "Dataset": "tench.data.table",
    "Encoding": "tench.data.images.encode",
    "EpochEnd": "tench.training.callbacks",
    "Evaluation": "tench.evaluation.evaluation",
    "Guess": "tench.weights.prediction",
    "ModelInfo": "tench.models.info",
    "PassingError": "tench.errors",
    "Prediction": "tench.weights.prediction",
    "Predictions": "tench.weights.prediction",
    "PrepareOptions": "tench.data.prepare.planning",
    "Prepared": "tench.data.prepare.prepare",
    "Recipe": "tench.training.recipe",
    "Report": "tench.data.check.check",
    "Run": "tench.run",
    "SourceOptions": "tench.data.options",
    "StopTraining": "tench.training.callbacks",
    "StoppedError": "tench.training.stopping",
    "Table": "tench.data.table",
    "TenchError": "tench.errors",
    "TorchDataset": "tench.input.torch_dataset",
    "TrainOptions": "tench.training.options",
    "UsageError": "tench.errors",
    "WeightsInfo": "tench.weights.describe",
    "check": "tench.data.check.check_source:check_source",
    "convert_weights": "tench.exporting.convert",
    "create_model": "tench.weights.create",
    "download": "tench.data.download.download",
    "evaluate": "tench.evaluation.evaluate",
    "export": "tench.exporting.export",
    "fit": "tench.training.fit",
    "info": "tench.data.info",
    "list_models": "tench.models.registry:find",
    "list_recipes": "tench.training.recipe_file:packaged_recipes",
    "load": "tench.weights.load",
    "load_recipe": "tench.training.recipe_file",
    "loader": "tench.training.batch_loader",
    "model_info": "tench.models.info:describe",
    "open_source": "tench.data.source",
    "predict": "tench.evaluation.predict",
    "prepare": "tench.data.prepare.prepare",
    "preview": "tench.training.preview",
    "weights_info": "tench.weights.describe",
}
"""The module of each name, with the name there if it differs."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tench' has no attribute {name!r}")
    import importlib

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
