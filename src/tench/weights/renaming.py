"""Rename weights of TI edgeailite and pycls to torchvision's parameter names."""

import re

from torch import Tensor

_BLOCK = re.compile(r"s(\d)\.b(\d+)\.(?:f\.)?(proj|bn|[abc]|[abc]_bn|se\.f_ex\.[02])\.(\w+)")


def as_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of TI edgeailite's ResNets and of pycls's RegNets under torchvision's names; others are unchanged.

    TI keeps everything but the head in `features` and calls the head `classifier`. In its RegNets the names below
    `features` are pycls's. Source: the renaming of load_weights in TI's resnet.py and regnet.py.
    """
    if "features.layer1.0.conv1.weight" in state:
        return {_of_resnet(name): tensor for name, tensor in state.items()}
    bare = {name.removeprefix("features."): tensor for name, tensor in state.items()}
    if is_of_pycls(bare):
        return {_of_regnet(name): tensor for name, tensor in bare.items()}
    return state


def is_of_pycls(state: dict[str, Tensor]) -> bool:
    """Whether a state dict has the names of pycls's RegNets; TI has them below `features`.

    pycls's ResNets have these names too, but a stem of 7 x 7.
    """
    return {"stem.conv.weight", "s1.b1.f.a.weight"} <= state.keys() and state["stem.conv.weight"].shape[2:] == (3, 3)


def _of_resnet(name: str) -> str:
    """ "features.conv1.weight" -> "conv1.weight", "classifier.bias" -> "fc.bias" """
    part, _, rest = name.partition(".")
    return {"features": rest, "classifier": f"fc.{rest}"}.get(part, name)


def _of_regnet(name: str) -> str:
    """ "s2.b1.f.a_bn.weight" -> "trunk_output.block2.block2-0.f.a.1.weight", "head.fc.bias" -> "fc.bias" """
    part, _, rest = name.partition(".")
    if part in ("head", "classifier"):
        return f"fc.{rest.removeprefix('fc.')}"
    if part == "stem":
        layer, _, role = rest.partition(".")
        return f"stem.{1 if layer == 'bn' else 0}.{role}"
    if (match := _BLOCK.fullmatch(name)) is None:
        return name
    stage, block, layer, role = match.groups()
    place = f"trunk_output.block{stage}.block{stage}-{int(block) - 1}"
    if layer.startswith("se."):
        return f"{place}.f.se.{'fc1' if layer.endswith('0') else 'fc2'}.{role}"
    branch = "proj" if layer in ("proj", "bn") else f"f.{layer[0]}"
    return f"{place}.{branch}.{1 if layer.endswith('bn') else 0}.{role}"
