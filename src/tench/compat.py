"""Import torchvision even if its compiled part does not match the installed torch.

pip can pair a CPU build of torch with the CUDA build of torchvision from the default index. Its compiled operators then
do not load, and importing torchvision fails because it registers rules for operators (box suppression) that do not
exist. Classification needs none of them, so they are declared without an implementation and the import is tried again.
`tench doctor` reports it.
"""

import importlib
import re
import warnings
from types import ModuleType

_MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")


def import_torchvision() -> ModuleType:
    """Import torchvision; call this before importing anything that imports it (timm does)."""
    import torch

    declared: set[str] = set()
    while True:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Failed to load image Python extension")
                return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = _MISSING_OPERATOR.search(str(error))
            if missing is None or missing[1] in declared:
                raise
            declared.add(missing[1])
            torch.library.define(f"torchvision::{missing[1]}", "(Tensor boxes, Tensor scores, float overlap) -> Tensor")


def import_timm() -> ModuleType:
    """Import timm, which imports torchvision."""
    import_torchvision()
    return importlib.import_module("timm")
