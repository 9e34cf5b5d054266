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
from tench.errors import TenchError, UsageError, some
from tench.files import is_there
from tench.input.resampling import Interpolation
from tench.models import from_timm
from tench.models.source import ModelOptions
from tench.plain import shown
from tench.weights.files import read_state
from tench.weights.hub import Config, named_by, num_rows, weights_file
from tench.weights.known import Start, imagenet_input
from tench.weights.recognise import CONFIG

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


def read_hugging_face(path: Path, config: Config) -> Start:
    """The weights in a folder, for the network of ours that computes the same.

    path: of the folder or a file in it. Raises UsageError if the model has no such network, TenchError if a file is
    damaged.
    """
    (kind, *_) = config.get("architectures", tuple[str, ...], ()) or ("",)
    if kind not in _NETWORKS:
        raise UsageError(
            f"{config.path} describes {kind or 'no model'}, which tench cannot read. Supported transformers models: "
            f"{_KNOWN}."
        )
    file = weights_file(path)
    found = read_state(file)
    arch, image_size = _NETWORKS[kind](config)
    state = under_library_names(found.state)
    head = {"ResNetForImageClassification": "fc.weight", "ViTForImageClassification": "head.weight"}[kind]
    num_classes = num_rows(state, head)
    if num_classes is None:
        raise TenchError(
            f"{file} has no classifier weights ({head}), so it is not a trained {kind}. Pass a fine-tuned model."
        )
    preprocessor = file.with_name(PREPROCESSOR)
    channels = config.channels("num_channels", 3)
    is_resnet = kind.startswith("ResNet")
    return Start(
        state=state,
        source=str(file),
        system="transformers",
        arch=arch,
        classes=_classes(config, num_classes),
        num_classes=num_classes,
        channels=channels,
        options=ModelOptions(fit_stem=False, norm_eps=None if is_resnet else _norm_eps(config)),
        notes=found.notes,
        is_assumed=not is_there(preprocessor),
        **_preprocessing(preprocessor, image_size, channels, is_resnet=is_resnet),
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


def _norm_eps(config: Config) -> float:
    found: float = config.get("layer_norm_eps", float, 1e-12)
    if found < 0:
        raise TenchError(f"{config.path}: layer_norm_eps is {found:g}, but should be at least 0.")
    return found


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
            if all(num_rows(state, part) for part in parts):
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
    return named_by(config, names, names)


_KEYS = (
    *("do_resize", "size", "resample", "do_center_crop", "crop_size", "crop_pct", "do_rescale", "rescale_factor"),
    *("do_normalize", "image_mean", "image_std"),
    # These do not change the pixels of an RGB image.
    *("image_processor_type", "feature_extractor_type", "do_convert_rgb", "processor_class", "transformers_version"),
    *("data_format", "input_data_format", "default_to_square", "return_tensors", "device", "disable_grouping"),
)
"""The keys of preprocessor_config.json that are understood; any other is refused unless it is null or false."""


def _preprocessing(path: Path, image_size: int, channels: int, *, is_resnet: bool) -> dict[str, Any]:
    """The fields of `Start` that describe the input, from preprocessor_config.json, or the usual ones without it.

    The defaults of the many image processors differ, so that values which matter must be in the file.
    """
    common = imagenet_input(image_size) | {"image_size": image_size}
    if not is_there(path):
        if is_resnet and channels == 3:
            return common
        return common | {"mean": (0.5,) * channels, "std": (0.5,) * channels}
    config = Config(path)
    unknown = [key for key in config.given_keys() if key not in _KEYS and not key.startswith("_")]
    if unknown:
        raise UsageError(f"{path}: {some(unknown)} cannot be represented, so the images would be prepared differently.")
    is_normalised = config.get("do_normalize", bool, "image_mean" in config)
    needed = ("size", "resample", *(("image_mean", "image_std") if is_normalised else ()))
    if missing := [key for key in needed if key not in config]:
        raise UsageError(f"{path} has no {some(missing)}, whose default depends on the image processor. Add it.")
    config.require("do_resize", True, True)
    resample = config.get("resample", int)
    if resample not in _RESAMPLES:
        raise UsageError(f"{path}: resample is {resample}. Only 2 (bilinear) and 3 (bicubic) are supported.")
    side, resize, squash = _sides(config)
    if side != image_size and not is_resnet:
        raise TenchError(
            f"{path} makes images of {side} px, but {CONFIG} says {image_size} px. Correct one of the files."
        )
    mean = config.get("image_mean", tuple[float, ...]) if is_normalised else (0.0,) * channels
    std = config.get("image_std", tuple[float, ...]) if is_normalised else (1.0,) * channels
    scale = 255 * config.get("rescale_factor", float, 1 / 255) if config.get("do_rescale", bool, True) else 255.0
    if scale <= 0:
        raise TenchError(f"{path}: rescale_factor must be above 0, got {scale / 255:g}.")
    return common | {
        "image_size": side,
        "eval_resize": resize,
        "squash": squash,
        "interpolation": _RESAMPLES[resample],
        "mean": tuple(value / scale for value in mean),
        "std": tuple(value / scale for value in std),
    }


def _sides(config: Config) -> tuple[int, int, bool]:
    """(side of the network's input, side after resizing, whether resizing changes the aspect ratio)."""
    size = config.get("size", int | dict[str, int])
    kind = config.get("image_processor_type", str, config.get("feature_extractor_type", str, ""))
    is_convnext = "crop_pct" in config or kind.startswith("ConvNext")
    if isinstance(size, int):
        size = {"shortest_edge": size} if is_convnext else {"height": size, "width": size}
    side: int | None = size.get("shortest_edge", size.get("height"))
    resize, squash = side, "shortest_edge" not in size and size.get("height") == size.get("width")
    if side is not None and is_convnext and "shortest_edge" in size:
        squash = side >= _SQUASHED_FROM
        resize = side if squash else int(side / config.fraction("crop_pct", 224 / 256))
    is_square = squash or is_convnext
    if config.get("do_center_crop", bool, False):
        crop = config.get("crop_size", int | dict[str, int])
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop or {}
        side = crop.get("height") if crop.get("height") == crop.get("width") else None
        is_square = True
    if side is None or resize is None or not is_square or not 1 <= side <= resize:
        raise UsageError(
            f"{config.path}: size {shown(size)} and the centre crop do not give a square part of the image. Only "
            "square inputs are supported."
        )
    return side, resize, squash
