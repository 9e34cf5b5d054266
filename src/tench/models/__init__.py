"""Create an architecture by name: ours, torchvision's and timm's. Torch is imported when a name is first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tench.models.build import create, stem_note
    from tench.models.info import ModelInfo, describe
    from tench.models.registry import find
    from tench.models.stem import adapt_stem

_HOMES = {
    "ModelInfo": "info",
    "adapt_stem": "stem",
    "create": "build",
    "describe": "info",
    "find": "registry",
    "stem_note": "build",
}

__all__ = ["ModelInfo", "adapt_stem", "create", "describe", "find", "stem_note"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
