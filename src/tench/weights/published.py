"""Weights that torchvision and timm publish, by name, through each library's own download and cache.

The library builds its network and loads the weights into it, converting old files as needed; we take the result. The
network is briefly in memory twice, but none of the libraries' rules for parameter names has to be repeated here.
Torch's generator is restored, so that later random numbers do not depend on the origin of the weights.
"""

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

import torch

from tench.compat import import_timm, import_torchvision
from tench.data.formats.wordnet import imagenet, names_of
from tench.data.table import Classes
from tench.errors import TenchError, UsageError, nearest, some
from tench.models.from_timm import EPS_IF_TRAINED
from tench.models.registry import source_of
from tench.models.source import ModelOptions
from tench.printable import unguarded
from tench.weights.files import as_float32, reason_of
from tench.weights.known import Start

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads of torchvision's googlenet and inception_v3 that are used only in training; `create` leaves them out."""


def torchvision_weights(name: str) -> Start:
    """torchvision's weights: resnet50 (its default weights) or resnet50.IMAGENET1K_V1.

    All are trained on ImageNet, whose classes torchvision orders by WordNet id. Raises UsageError for an unknown name,
    TenchError if the weights are neither cached nor downloadable.
    """
    models: Any = import_torchvision().models
    arch, _, tag = name.partition(".")
    known = models.list_models(module=models)
    if arch not in known:
        raise UsageError(f"torchvision has no network {arch!r}.{nearest(arch, known)} tench models lists them.")
    published = models.get_model_weights(arch)
    tags = list(published.__members__)
    if (tag or "DEFAULT") not in tags:
        raise UsageError(f"torchvision has no weights {tag!r} for {arch}. It has {some(tags)}.")
    weights = published[tag or "DEFAULT"]
    source = f"torchvision:{arch}.{weights.name}"
    if weights.meta["categories"] is None:
        raise UsageError(f"{source}: these weights are not a whole classifier. torchvision also has {some(tags)}.")
    _fetch(weights, source)
    with torch.random.fork_rng(devices=[]):
        network = models.get_model(arch, weights=weights)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(_AUXILIARY)}
    view = weights.transforms()
    # These two networks undo the usual mean and std and scale pixels to -1..1; ours leave that to mean and std.
    half = (0.5,) * 3 if getattr(network, "transform_input", False) else None
    return Start(
        state=as_float32(state),
        source=source,
        system="torchvision",
        arch=_arch("torchvision", arch),
        classes=Classes.of(imagenet(), names_of(imagenet())),
        num_classes=len(weights.meta["categories"]),
        channels=3,
        image_size=view.crop_size[0],
        eval_resize=view.resize_size[0],
        interpolation=view.interpolation.value,
        mean=half or tuple(view.mean),
        std=half or tuple(view.std),
        channel_order="rgb",
    )


def timm_weights(name: str) -> Start:
    """timm's weights: resnet50.a1_in1k, or resnet50 (timm's default weights).

    eval_resize follows from timm's crop_pct. Classes: those of ImageNet and its larger relatives, by WordNet id; timm
    identifies the set by the number of classes. Raises UsageError for an unknown name, TenchError if the weights are
    neither cached nor downloadable.
    """
    timm: Any = import_timm()
    arch = name.partition(".")[0]
    if not timm.is_model(arch):
        raise UsageError(f"timm has no network {arch!r}.{nearest(arch, timm.list_models())} tench models lists them.")
    tags = timm.list_pretrained(f"{arch}.*") or timm.list_pretrained(arch)
    if name not in (arch, *tags) or not tags:
        raise UsageError(f"timm has no weights {name}. It has {some(tags) if tags else f'none for {arch}'}.")
    config = timm.get_pretrained_cfg(name)
    source = f"timm:{arch}.{config.tag}" if config.tag else f"timm:{arch}"
    try:
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(name, pretrained=True)
    except Exception as error:  # a connection, cache or file error: timm defines no exception for it
        raise TenchError(
            f"{source}: timm cannot load the weights ({reason_of(error)}). On a machine without a connection, download "
            f"{_address(config)} elsewhere and pass the file: --weights FILE -a {_arch('timm', arch)}."
        ) from error
    channels, height, width = config.input_size
    square = height == width
    return Start(
        state=as_float32(network.state_dict()),
        source=source,
        system="timm",
        arch=_arch("timm", arch),
        classes=_timm_classes(config.num_classes),
        num_classes=config.num_classes or None,
        channels=channels,
        image_size=height if square else None,
        eval_resize=math.floor(height / config.crop_pct) if square else None,
        options=ModelOptions(fit_stem=False, norm_eps=EPS_IF_TRAINED.get(arch)),
        squash=config.crop_mode == "squash",
        interpolation=config.interpolation,
        mean=tuple(config.mean),
        std=tuple(config.std),
        channel_order="rgb",
    )


def _fetch(weights: Any, source: str) -> None:
    """Put the file of torchvision's weights in its cache, and check that it contains nothing but tensors.

    torchvision would load it as a pickle that may run code, so it is first read here, safely.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        terminal = unguarded(sys.stderr)  # torch prints the download and its progress bar there
        with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
            weights.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # a connection or file error: torch raises no specific exception
        if file.exists():
            raise TenchError(
                f"{source}: {file} cannot be read as weights ({reason_of(error)}). Remove it; the next attempt "
                "downloads it again."
            ) from error
        raise TenchError(
            f"{source}: the weights cannot be downloaded ({reason_of(error)}). On a machine without a connection, "
            f"download {weights.url} elsewhere and put it at {file}, or pass the file: --weights FILE."
        ) from error


def _timm_classes(num_classes: int) -> Classes | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": num_classes})
    if subset is None:
        return None
    ids = ImageNetInfo(subset).label_names()
    return Classes.of(ids, names_of(ids))


def _address(config: Any) -> str:
    """The address that timm downloads the weights from."""
    if config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{config.hf_hub_filename or 'model.safetensors'}"
    return str(config.url)


def _arch(system: str, name: str) -> str:
    """A library's network under the name that `create` takes: prefixed with the library only if the plain name means
    another."""
    return name if system == source_of(name).NAME else f"{system}:{name}"
