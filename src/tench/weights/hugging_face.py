"""Read a folder of Hugging Face's transformers: config.json beside model.safetensors or pytorch_model.bin.

ResNetForImageClassification becomes torchvision's network of the same structure, ViTForImageClassification timm's. The
structure is taken from config.json, the preprocessing from preprocessor_config.json. Source: modeling_resnet.py,
modeling_vit.py and the image processors in transformers.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.files import is_there
from tench.input.resampling import Interpolation
from tench.input.views import IMAGENET_MEAN, IMAGENET_STD
from tench.models import from_timm
from tench.models.source import ModelOptions
from tench.plain import PlainError, read_json, shown, typed
from tench.weights.files import read_state
from tench.weights.known import Start, imagenet_input
from tench.weights.recognise import CONFIG, HUB_FILES

PREPROCESSOR = "preprocessor_config.json"
_RESNETS = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}
_RESNET_WIDTHS = {"basic": (64, 128, 256, 512), "bottleneck": (256, 512, 1024, 2048)}
_VITS = {(192, 12, 3): "tiny", (384, 12, 6): "small", (768, 12, 12): "base", (1024, 24, 16): "large"}
_VITS |= {(1280, 32, 16): "huge"}
_RESAMPLES: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
_SQUASHED_FROM = 384
"""From this size on, ConvNextImageProcessor, which ResNets use, does not crop."""


class Config:
    """The values of a JSON file, checked when they are used; errors name the file and the key."""

    def __init__(self, path: Path, values: dict[str, Any] | None = None) -> None:
        self.path = path
        try:
            self._values: dict[str, Any] = read_json(path, dict[str, Any]) if values is None else values
        except ValueError as error:
            raise TenchError(f"{path}: {error}.") from error

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """The value of a key, of the given type; the default if it is absent or null."""
        if key not in self:
            return default
        try:
            return typed(self._values[key], kind, key)
        except PlainError as error:
            raise TenchError(f"{self.path}: {error}.") from error

    def inside(self, key: str) -> "Config":
        """The values of a nested object; those of this one if there is none."""
        return Config(self.path, self.get(key, dict[str, Any])) if key in self else self

    def require(self, key: str, expected: object, default: object) -> None:
        """Raise UsageError unless a key has the only value that our networks implement."""
        if (found := self.get(key, Any, default)) != expected:
            raise UsageError(f"{self.path}: {key} is {shown(found)}. Only {shown(expected)} is supported.")


def weights_file(folder: Path) -> Path:
    """The file of weights in a folder of the hub. Raises UsageError if there is none."""
    for name in HUB_FILES:
        if is_there(folder / name):
            return folder / name
    raise UsageError(
        f"{folder} has {CONFIG}, but neither {' nor '.join(HUB_FILES)}. If its weights are in several files, save the "
        "model in one: save_pretrained(..., max_shard_size='100GB')."
    )


def read_hugging_face(folder: Path, config: Config) -> Start:
    """The weights in a folder, for the network of ours that computes the same.

    Raises UsageError if the model has no such network, TenchError if a file is damaged.
    """
    (kind, *_) = config.get("architectures", tuple[str, ...], ()) or ("",)
    if kind not in _NETWORKS:
        raise UsageError(
            f"{config.path} describes {kind or 'no model'}, which tench cannot read. Supported transformers models: "
            f"{_KNOWN}."
        )
    path = weights_file(folder)
    found = read_state(path)
    arch, image_size = _NETWORKS[kind](config)
    state = under_library_names(found.state)
    head = {"ResNetForImageClassification": "fc.weight", "ViTForImageClassification": "head.weight"}[kind]
    if head not in state:
        raise TenchError(
            f"{path} has no classifier weights ({head}), so it is not a trained {kind}. Pass a fine-tuned model."
        )
    num_classes, channels = len(state[head]), config.get("num_channels", int, 3)
    return Start(
        state=state,
        source=str(path),
        system="transformers",
        arch=arch,
        classes=_classes(config, num_classes),
        num_classes=num_classes,
        channels=channels,
        options=_options(config) if kind.startswith("ViT") else None,
        notes=found.notes,
        is_assumed=not is_there(folder / PREPROCESSOR),
        **_preprocessing(folder, image_size, channels, is_resnet=kind.startswith("ResNet")),
    )


def under_library_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a ResNet or ViT under torchvision's or timm's names; any others are unchanged."""
    if "resnet.embedder.embedder.convolution.weight" in state:
        return {_of_resnet(name): tensor for name, tensor in state.items()}
    if "vit.embeddings.patch_embeddings.projection.weight" in state:
        return _of_vit(state)
    return state


def _resnet(config: Config) -> tuple[str, int]:
    """(name of the network, usual image size)."""
    kind = config.get("layer_type", str, "bottleneck")
    depths = config.get("depths", tuple[int, ...], (3, 4, 6, 3))
    widths = config.get("hidden_sizes", tuple[int, ...], (256, 512, 1024, 2048))
    config.require("hidden_act", "relu", "relu")
    config.require("embedding_size", 64, 64)
    config.require("downsample_in_first_stage", False, False)
    config.require("downsample_in_bottleneck", False, False)
    if (kind, depths) not in _RESNETS or widths != _RESNET_WIDTHS[kind]:
        raise UsageError(
            f"{config.path}: a {kind} ResNet with depths {list(depths)} and hidden_sizes {list(widths)} is not one of "
            f"torchvision's ({', '.join(_RESNETS.values())})."
        )
    return _RESNETS[kind, depths], 224


def _vit(config: Config) -> tuple[str, int]:
    """(name of the network, image size)."""
    width, depth = config.get("hidden_size", int, 768), config.get("num_hidden_layers", int, 12)
    heads, patch = config.get("num_attention_heads", int, 12), config.get("patch_size", int, 16)
    size = config.get("image_size", int, 224)
    config.require("hidden_act", "gelu", "gelu")
    config.require("qkv_bias", True, True)
    config.require("intermediate_size", 4 * width, 3072)
    prefix = f"vit_{_VITS.get((width, depth, heads))}_patch{patch}_"
    arch = next((prefix + str(side) for side in (size, 224) if from_timm.knows(prefix + str(side))), None)
    if arch is None:
        raise UsageError(
            f"{config.path}: a ViT with hidden_size {width}, {depth} layers, {heads} heads and patch_size {patch} is "
            "not one of timm's."
        )
    return arch, size


def _options(config: Config) -> ModelOptions:
    return ModelOptions(norm_eps=config.get("layer_norm_eps", float, 1e-12))


_NETWORKS: Mapping[str, Callable[[Config], tuple[str, int]]] = {
    "ResNetForImageClassification": _resnet,
    "ViTForImageClassification": _vit,
}
_KNOWN = ", ".join(_NETWORKS)


def _of_resnet(name: str) -> str:
    """ "resnet.encoder.stages.0.layers.1.layer.2.normalization.bias" -> "layer1.1.bn3.bias" """
    name = name.replace("resnet.embedder.embedder.convolution", "conv1").replace("classifier.1", "fc")
    name = name.replace("resnet.embedder.embedder.normalization", "bn1")
    match = re.fullmatch(
        r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(layer\.\d+|shortcut)\.(convolution|normalization)\.(\w+)",
        name,
    )
    if match is None:
        return name
    stage, block, part, kind, role = match.groups()
    if part == "shortcut":
        layer = f"downsample.{0 if kind == 'convolution' else 1}"
    else:
        layer = f"{'conv' if kind == 'convolution' else 'bn'}{int(part.removeprefix('layer.')) + 1}"
    return f"layer{int(stage) + 1}.{block}.{layer}.{role}"


_VIT_NAMES = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "vit.encoder.layer": "blocks",
    "vit.layernorm": "norm",
    "attention.output.dense": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "classifier": "head",
}
"""Parts of names; attention.output.dense comes before output.dense, which it contains."""


def _of_vit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm keeps query, key and value of a block in one layer, so they are concatenated."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if match := re.fullmatch(r"vit\.encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)", name):
            parts = [name.replace("query", part) for part in ("query", "key", "value")]
            if all(part in state for part in parts):
                found[f"blocks.{match[1]}.attn.qkv.{match[2]}"] = torch.cat([state[part] for part in parts])
                continue
        if not re.search(r"\.attention\.attention\.(key|value)\.|^vit\.pooler\.", name):  # the pooler is not used
            for theirs, ours in _VIT_NAMES.items():
                name = name.replace(theirs, ours)
            found[name] = tensor
    return found


def _classes(config: Config, num_classes: int) -> Classes | None:
    """The names in id2label; None if they are the library's numbered ones."""
    labels = config.get("id2label", dict[str, str], {})
    if not labels or labels == {str(index): f"LABEL_{index}" for index in range(len(labels))}:
        return None
    try:
        names = [labels[str(index)] for index in range(num_classes)]
    except KeyError as error:
        raise TenchError(
            f"{config.path}: id2label has no entry {error}, but the model has {num_classes:,} classes."
        ) from error
    if len(set(names)) < num_classes:  # as in ImageNet, which has two cranes and two maillots
        return Classes.of(list(map(str, range(num_classes))), names)
    return Classes.of(names)


def _preprocessing(folder: Path, image_size: int, channels: int, *, is_resnet: bool) -> dict[str, Any]:
    """The fields of `Start` that describe the input, from preprocessor_config.json."""
    common = imagenet_input(image_size) | {"image_size": image_size}
    if not is_there(folder / PREPROCESSOR):
        if is_resnet and channels == 3:
            return common
        return common | {"mean": (0.5,) * channels, "std": (0.5,) * channels}
    config = Config(folder / PREPROCESSOR)
    config.require("do_resize", True, True)
    resample = config.get("resample", int, 3 if is_resnet else 2)
    if resample not in _RESAMPLES:
        raise UsageError(f"{config.path}: resample is {resample}. Only 2 (bilinear) and 3 (bicubic) are supported.")
    side, resize, squash = _sides(config, image_size)
    if side != image_size and not is_resnet:
        raise TenchError(
            f"{config.path} makes images of {side} px, but {CONFIG} says {image_size} px. Correct one of the files."
        )
    is_normalised = config.get("do_normalize", bool, True)
    mean = config.get("image_mean", tuple[float, ...], IMAGENET_MEAN) if is_normalised else (0.0,) * channels
    std = config.get("image_std", tuple[float, ...], IMAGENET_STD) if is_normalised else (1.0,) * channels
    scale = 255 * config.get("rescale_factor", float, 1 / 255) if config.get("do_rescale", bool, True) else 255.0
    return common | {
        "image_size": side,
        "eval_resize": resize,
        "squash": squash,
        "interpolation": _RESAMPLES[resample],
        "mean": tuple(value / scale for value in mean),
        "std": tuple(value / scale for value in std),
    }


def _sides(config: Config, image_size: int) -> tuple[int, int, bool]:
    """(side of the network's input, side after resizing, whether resizing changes the aspect ratio)."""
    size = config.get("size", int | dict[str, int], image_size)
    crop = config.get("crop_size", int | dict[str, int])
    crop = crop["height"] if isinstance(crop, dict) and "height" in crop else crop
    if isinstance(size, int):
        size = {"height": size, "width": size} if "crop_pct" not in config else {"shortest_edge": size}
    if "shortest_edge" in size:
        edge = size["shortest_edge"]
        if "crop_pct" in config:
            if edge >= _SQUASHED_FROM:
                return edge, edge, True
            return edge, int(edge / config.get("crop_pct", float)), False
        side = crop if config.get("do_center_crop", bool, False) and isinstance(crop, int) else None
        if side is not None and side <= edge:
            return side, edge, False
    elif size.get("height") == size.get("width") and "height" in size:
        edge = size["height"]
        if config.get("do_center_crop", bool, False) and isinstance(crop, int) and crop <= edge:
            return crop, edge, True
        return edge, edge, True
    raise UsageError(
        f"{config.path}: size {shown(size)} without a centre crop leaves images that are not square. Only square "
        "images are supported."
    )
