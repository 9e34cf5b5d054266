"""Rename other systems' weights for networks that we have under torchvision's names."""

from torch import Tensor


def as_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of TI edgeailite's ResNets under torchvision's names; any others are unchanged.

    TI's ResNets keep everything but the head in `features` and call the head `classifier`. Its RegNets have pycls's
    networks there, whose layer names we do not translate. Source: the renaming of load_weights in its resnet.py.
    """
    if "features.layer1.0.conv1.weight" not in state:
        return state
    return {_renamed(name): tensor for name, tensor in state.items()}


def _renamed(name: str) -> str:
    """ "features.conv1.weight" -> "conv1.weight", "classifier.bias" -> "fc.bias" """
    part, _, rest = name.partition(".")
    return {"features": rest, "classifier": f"fc.{rest}"}.get(part, name)
