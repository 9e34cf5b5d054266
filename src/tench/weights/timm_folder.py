"""Read timm's folder of a trained network: config.json beside model.safetensors, as on the Hugging Face hub."""

import math
import re
from pathlib import Path
from typing import Any

import torch

from tench.compat import import_timm
from tench.data.table import Classes
from tench.errors import TenchError, UsageError, counted
from tench.input.views import IMAGENET_MEAN, IMAGENET_STD
from tench.models import from_timm
from tench.models.registry import source_of
from tench.models.source import ModelOptions
from tench.plain import shown
from tench.weights.files import read_state
from tench.weights.hub import Config, named_by, weights_file
from tench.weights.known import Start

ARCHITECTURE = "architecture"
"""The key of config.json that only timm writes."""
_CROPS = ("center", "squash")
_POOL = "global_pool"
_ARGUMENTS = ("img_size", "in_chans", "num_classes", "dynamic_img_size", "bn_eps", _POOL)
"""The arguments of a network that tench can represent, or that change nothing at the image size given."""
_DROPPED = re.compile(r"(^|_)drop(_|.*_)rate$")
"""The names of arguments that only matter in training: drop_rate, drop_path_rate."""


def read_timm(path: Path, config: Config) -> Start:
    """The weights in a folder, with the preprocessing that its config.json describes.

    path: of the folder or a file in it. Raises UsageError for a network or setting that tench does not have, TenchError
    if a file is damaged.
    """
    arch = config.get(ARCHITECTURE, str)
    if not from_timm.knows(arch):
        raise UsageError(
            f"{config.path}: the installed timm has no network {arch!r}. Update timm, or correct architecture."
        )
    arguments = config.get("model_args", dict[str, Any], {})
    unknown = sorted(name for name in arguments if name not in _ARGUMENTS and not _DROPPED.search(name))
    if not _has_usual_pool(arch, arguments.get(_POOL)):
        unknown.append(_POOL)
    if unknown:
        raise UsageError(f"{config.path}: model_args has {', '.join(unknown)}, which tench does not support.")
    given = Config(config.path, arguments)
    described = config.inside("pretrained_cfg")
    channels, height, width = described.get("input_size", tuple[int, int, int], (3, 224, 224))
    size = arguments.get("img_size", height)
    channels = given.channels("in_chans", channels)
    if size not in (height, [height, width]) or height != width:
        raise UsageError(
            f"{config.path}: input_size is {height} x {width} and img_size {shown(size)}. Only square images of one "
            "size are supported."
        )
    crop = described.get("crop_mode", str, "center")
    if crop not in _CROPS:
        raise UsageError(f"{config.path}: crop_mode is {shown(crop)}. Only {' and '.join(_CROPS)} are supported.")
    interpolation = described.get("interpolation", str, "bicubic")
    if interpolation not in ("bilinear", "bicubic"):
        raise UsageError(
            f"{config.path}: interpolation is {shown(interpolation)}. Only bilinear and bicubic are supported."
        )
    # timm reads the number from the first of the three that has it.
    num_classes = next(
        (one.get("num_classes", int) for one in (given, config, described) if "num_classes" in one), 1000
    )
    file = weights_file(path)
    found = read_state(file)
    if not any(tensor.ndim and len(tensor) == num_classes for tensor in found.state.values()):
        raise TenchError(
            f"{config.path}: num_classes is {num_classes:,}, but no layer in {file.name} has as many outputs."
        )
    return Start(
        state=found.state,
        source=str(file),
        system="timm",
        arch=arch if source_of(arch).NAME == from_timm.NAME else f"{from_timm.NAME}:{arch}",
        classes=_classes(config, described, num_classes),
        num_classes=num_classes,
        channels=channels,
        image_size=height,
        eval_resize=math.floor(height / described.fraction("crop_pct", 0.875)),
        squash=crop == "squash",
        interpolation=interpolation,
        mean=described.get("mean", tuple[float, ...], IMAGENET_MEAN),
        std=described.get("std", tuple[float, ...], IMAGENET_STD),
        channel_order="rgb",
        options=ModelOptions(fit_stem=False, norm_eps=given.get("bn_eps", float, from_timm.EPS_IF_TRAINED.get(arch))),
        notes=found.notes,
    )


def _has_usual_pool(arch: str, pool: object) -> bool:
    """Whether this pooling is the network's default; None means the default."""
    if pool is None:
        return True
    timm: Any = import_timm()
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        try:
            networks = timm.create_model(arch, global_pool=str(pool)), timm.create_model(arch)
        except Exception:  # each network has its own error for a pooling that it does not have
            return False
    # Some networks pool in a layer, others in a function that depends on an attribute.
    given, usual = ((str(one), str(getattr(one, _POOL, None))) for one in networks)
    return given == usual


def _classes(config: Config, described: Config, num_classes: int) -> Classes | None:
    """The classes of label_names, which are their ids, and label_descriptions; None if there are none."""
    # Old files have everything in one object, and call the names `labels`.
    key, holder = next(
        ((key, one) for key in ("label_names", "labels") for one in (config, described) if key in one), ("", config)
    )
    if not key:
        return None
    ids = holder.get(key, tuple[str, ...] | dict[str, str])
    if isinstance(ids, dict):
        ids = tuple(ids[str(index)] for index in range(len(ids)) if str(index) in ids)
    if len(ids) != num_classes:
        raise TenchError(f"{config.path}: {key} has {counted(len(ids), 'name')}, but num_classes is {num_classes:,}.")
    described_as = holder.get("label_descriptions", dict[str, str], {})
    return named_by(config, ids, [described_as.get(one, one) for one in ids])
