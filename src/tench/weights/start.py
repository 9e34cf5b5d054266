"""Find weights to fine-tune, by file or by name, with what is known about them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from tench.errors import TenchError, UsageError, some
from tench.files import is_there, user_path
from tench.models.info import usual_dry_run
from tench.models.registry import source_of
from tench.weights import own
from tench.weights.files import StateFile, read_state, require_readable
from tench.weights.hub import Config
from tench.weights.hugging_face import read_hugging_face, under_library_names
from tench.weights.known import Start, in_bgr
from tench.weights.mxnet import read_mxnet
from tench.weights.nnabla import read_nnabla
from tench.weights.plain_state import completed
from tench.weights.published import timm_weights, torchvision_weights
from tench.weights.recognise import (
    CARD,
    CONFIG,
    PARAMS,
    SAFETENSORS,
    SYMBOL,
    hub_folder,
    is_h5,
    is_nnp,
    is_params,
    is_tench_weights,
    is_weights,
)
from tench.weights.renaming import as_torchvision, is_of_pycls
from tench.weights.timm_folder import ARCHITECTURE, read_timm
from tench.weights.transfer import load_start

__all__ = ["Start", "load_start", "starting_weights"]

PUBLISHED = {"torchvision": torchvision_weights, "timm": timm_weights}


def starting_weights(name: str, arch: str | None = None) -> Start:
    """Find weights by name or in a file.

    name: a run directory, its weights or checkpoint; a PyTorch state dict (.pth, .pt, .pth.tar, .ckpt, .bin,
    .safetensors), also as trainers wrap it; a transformers or timm folder, or the weights in it; NNabla's .h5 or .nnp;
    MXNet's NAME-symbol.json or .params; or published weights: torchvision:resnet50, torchvision:resnet50.IMAGENET1K_V1,
    timm:resnet50, timm:resnet50.a1_in1k. arch: the network of a file that does not name it; it also supplies the
    preprocessing. Raises UsageError for an unknown name, TenchError if the weights cannot be read or downloaded.
    """
    if name == "needed":
        raise UsageError("This recipe starts from trained weights. Add --weights RUN, FILE or timm:NAME.")
    system, colon, rest = name.partition(":")
    if colon and system in PUBLISHED:
        _require_no_arch(name, arch)
        return PUBLISHED[system](rest)
    path = user_path(name)
    if not is_there(path):
        raise UsageError(f"{name}: no such file or run directory.{published_hint(name)}")
    if (folder := hub_folder(path)) is not None:
        _require_no_arch(name, arch)
        config = Config(folder / CONFIG)
        return read_timm(path, config) if ARCHITECTURE in config else read_hugging_face(path, config)
    if path.is_dir() and not is_tench_weights(path):
        files = [one.name for one in sorted(path.iterdir()) if one.is_file() and is_weights(one)]
        if files:
            raise UsageError(f"{path} is a folder with weights, {some(files)}. Pass the file: {path / files[-1]}")
    card_path = path.with_name(CARD)
    if path.is_dir() or (path.suffix == SAFETENSORS and is_there(card_path)):
        _require_no_arch(name, arch)
        state, card = own.read(path)
        return _of_card(state, card, name)
    if (reader := _reader(path)) is not None:
        system, colon, network = (arch or "").rpartition(":")
        known = ("nnabla",) if reader is read_nnabla else ("mxnet", "gluon")
        if colon and system not in known:
            raise UsageError(f"{path} has weights of {known[0]}, so {arch} cannot be its network. Leave --arch out.")
        return reader(path, network or None)
    found = read_state(path)
    if found.arch is not None and is_there(card_path) and (card := own.read_card(path.parent)).arch == found.arch:
        _require_no_arch(name, arch)
        return dataclasses.replace(_of_card(found.state, card, name), notes=found.notes)
    is_bgr = is_of_pycls(found.state)
    found = dataclasses.replace(found, state=under_library_names(as_torchvision(found.state)))
    if arch is not None:
        start = completed(found.state, arch, name, found.notes)
    else:
        arch, whose = _network_of(found)
        start = Start(state=found.state, source=name, arch=arch, notes=(*found.notes, *whose))
    return in_bgr(start) if is_bgr else start


def _require_no_arch(name: str, arch: str | None) -> None:
    if arch is not None:
        raise UsageError(f"{name}: these weights come with their network. Leave --arch out.")


def _reader(path: Path) -> Callable[[Path, str | None], Start] | None:
    """What reads a file of NNabla or MXNet, recognised by its first bytes; None for a state dict of PyTorch."""
    if not path.is_file():
        return None
    require_readable(path)
    if path.suffix == ".json" and not path.name.endswith(SYMBOL):
        raise UsageError(f"{path}: MXNet's symbol file must be called NAME{SYMBOL}, with NAME-0000.params next to it.")
    if is_h5(path) or is_nnp(path):
        return read_nnabla
    return read_mxnet if path.name.endswith(SYMBOL) or path.suffix == PARAMS or is_params(path) else None


def _of_card(state: dict[str, Tensor], card: own.ModelCard, source: str) -> Start:
    return Start(
        state=state,
        source=source,
        system="tench",
        arch=card.arch,
        classes=card.classes,
        num_classes=len(card.classes),
        channels=card.channels,
        image_size=card.image_size,
        eval_resize=card.eval_resize,
        squash=card.squash,
        interpolation=card.interpolation,
        mean=card.mean,
        std=card.std,
        channel_order=card.channel_order,
        options=card.options,
        graph=card.graph,
    )


def _network_of(found: StateFile) -> tuple[str | None, tuple[str, ...]]:
    """(name for `create`, notes) of the network that a file names without saying which library the name is from.

    If several networks have this name, the one whose parameter names match the file is chosen, else the first.
    """
    called = found.arch
    if called is None:
        return None, ()
    archs: list[str] = []
    for arch in (called, f"timm:{called}", f"edgeai:{called}"):
        if _is_known(arch) and source_of(arch) not in map(source_of, archs):
            archs.append(arch)
    if len(archs) < 2:
        return (archs[0] if archs else None), ()
    theirs = _names(found.state)
    arch = next((arch for arch in archs if _names_in(arch) == theirs), archs[0])
    if arch == archs[0]:
        return arch, ()
    return arch, (f"The file calls its network {called}; the names of its weights match {arch}.",)


def _names_in(arch: str) -> set[str]:
    """The names of a network's weights."""
    return usual_dry_run(arch, lambda network, _: _names(network.state_dict()))


def _names(state: Mapping[str, Tensor]) -> set[str]:
    """The names without counters, which files from old versions of PyTorch lack."""
    return {name for name in state if not name.endswith(".num_batches_tracked")}


def _is_known(arch: str) -> bool:
    """Whether `create` accepts the name."""
    try:
        return bool(source_of(arch))
    except TenchError:
        return False


def published_hint(name: str) -> str:
    """A hint for an unknown name: if it is a network, the name of its published weights."""
    arch = name.partition(".")[0]
    if _is_known(arch) and (system := source_of(arch).NAME) in PUBLISHED:
        return f" For the weights that {system} publishes, use {system}:{name}."
    return " For weights that torchvision or timm publish, use torchvision:NAME or timm:NAME."
