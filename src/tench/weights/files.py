"""Read weights from PyTorch's files (.pth, .pt, .pth.tar, .ckpt, .bin) and safetensors, whichever trainer wrote them.

Each trainer wraps the weights in its own dictionaries and prefixes; both are removed. PyTorch's files are pickles,
which may contain code. They are read in PyTorch's weights-only mode, which creates only tensors and plain values and
refuses anything else. The price: a file with a whole pickled model, rather than its weights, cannot be read.
"""

import argparse
import dataclasses
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tench.errors import PassingError, TenchError, some
from tench.files import complete_file
from tench.plain import require_file, shown
from tench.weights.recognise import SAFETENSORS

_AVERAGES = ("state_dict_ema", "model_ema", "average")
"""Keys of a running average of the weights in files from timm, torchvision's script and our own checkpoints. These
programs validate the average, so it is used instead of the weights stored with it."""
_WRAPPERS = ("state_dict", "model", "model_state", "network", "net")
"""Keys under which trainers store the weights; the first one found is used."""
_LIGHTNING = "pytorch-lightning_version"
"""The key of a Lightning checkpoint. Its weights include what the LightningModule has beside the network."""
_WRAPPING = ("module.", "_orig_mod.")
"""Prefixes that torch's parallel wrappers, averages and compiler add to all names, or to all names of one part
(pytorch/examples wraps only the features of AlexNet and VGG in a DataParallel)."""
_HOLDING = ("model.", "net.", "network.")
"""Prefixes of all names that come from a module around the network, such as a LightningModule."""
_SMALL_BYTES, _MAX_INFLATION = 2**28, 10
"""Up to this size, and this factor of the file's size, a claim is believed. Weights compress by much less."""
_COUNTER = "n_averaged"
"""The counter that torch.optim.swa_utils.AveragedModel stores with the weights."""
_DICTS: list[tuple[Any, str]] = [
    (dict, f"{package}.utilities.parsing.AttributeDict")
    for package in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric")
]
"""Lightning stores options as an AttributeDict. It is read as a dict, so that Lightning is not needed."""
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_UNPICKLER = re.compile(r"WeightsUnpickler error:\s*(.+)")


@dataclasses.dataclass(frozen=True, eq=False)
class StateFile:
    """The content of a weights file. state: on the CPU, floats as fp32. arch: the name that the file gives the network.

    notes: what was chosen or left out, one sentence each.
    """

    state: dict[str, Tensor]
    arch: str | None
    notes: tuple[str, ...] = ()


def read_state(path: Path) -> StateFile:
    """The weights in a file, without wrappers and prefixes. Raises TenchError if the file has none."""
    content: Any = read_safetensors(path) if path.suffix == SAFETENSORS else _read_pytorch(path)
    arch = content.get("arch") if isinstance(content, Mapping) else None
    inner, notes = _unwrapped(content)
    if isinstance(content, Mapping) and _LIGHTNING in content and _is_state(inner):
        inner, left_out = _network_of_lightning(inner)
        notes += [f"{path}: left out {some(left_out)}, not part of the network."] if left_out else []
    state = _bare(inner, path)
    try:
        state = as_float32(state)
    except (NotImplementedError, RuntimeError) as error:
        raise TenchError(f"{path} has values of a type that cannot be used ({reason_of(error)}).") from error
    return StateFile(state, arch if isinstance(arch, str) else None, tuple(notes))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors file, unchanged, on the CPU. Raises TenchError if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_file(path)
    require_readable(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise TenchError(f"{path}: not a complete safetensors file ({error}). Copy it again.") from error
    except MemoryError as error:
        size = path.stat().st_size
        raise TenchError(
            f"{path}: its {size:,} bytes do not fit in memory. Free some memory, or copy the file again."
        ) from error


@contextmanager
def complete_safetensors(path: Path) -> Iterator[Path]:
    """As `complete_file`, for a file that safetensors writes in this block; its errors become a TenchError too."""
    from safetensors import SafetensorError

    try:
        with complete_file(path) as part:
            yield part
    except SafetensorError as error:
        raise TenchError(f"{path}: cannot be written ({error}).") from error


def require_plausible(path: Path, num_bytes: int) -> None:
    """Raise TenchError if a file claims more weights, in bytes, than it can contain even if they are compressed."""
    size = path.stat().st_size
    if num_bytes > max(_SMALL_BYTES, _MAX_INFLATION * size):
        raise TenchError(
            f"{path} claims to contain {num_bytes:,} bytes of weights, but has only {size:,}. It is damaged; copy it "
            "again."
        )


def require_readable(path: Path) -> None:
    """Raise PassingError if a file cannot be opened; safetensors would report that it does not exist."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise PassingError(f"{path}: cannot be read ({error.strerror}).") from error


def load_pickle(path: Path) -> Any:
    """Read a torch.save file onto the CPU, in the mode that creates only tensors and plain values.

    Raises whatever torch.load raises, which can be any exception; ValueError for a file that would take more memory
    than its size.
    """
    require_file(path)
    require_readable(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise ValueError("it is a TorchScript archive, which can contain code")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, which torch.save never does")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its parts overlap")
    return torch.load(path, map_location="cpu", weights_only=True)


def as_float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with every floating-point type converted to fp32."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def reason_of(error: Exception) -> str:
    """The reason for an error in one sentence, without PyTorch's advice to use the mode that runs code."""
    text = str(error).strip()
    if unpickler := _UNPICKLER.search(text):
        return unpickler[1].strip()
    return text.splitlines()[0].partition(". ")[0] if text else type(error).__name__


def _read_pytorch(path: Path) -> Any:
    try:
        # torchvision's and timm's training scripts store their options, an argparse.Namespace, with the weights.
        # Creating one runs no code from the file.
        with torch.serialization.safe_globals([argparse.Namespace, *_DICTS]):
            return load_pickle(path)
    except TenchError:
        raise
    except Exception as error:  # torch.load raises no specific error for unreadable files
        if foreign := _GLOBAL.search(str(error)):
            raise TenchError(
                f"{path} contains more than weights ({foreign[1]}). Reading that could run code, so it was not read. "
                "If you trust the file, load it with PyTorch and save only the weights: "
                'torch.save(model.state_dict(), "weights.pth").'
            ) from error
        raise TenchError(
            f"{path}: cannot be read as weights ({reason_of(error)}). Pass a state dict saved by torch.save, or a "
            f"{SAFETENSORS} file."
        ) from error


def _unwrapped(content: Any) -> tuple[Any, list[str]]:
    """The content of a trainer's nested dictionaries, and notes: one sentence if they contain weights and an
    average."""
    notes = []
    seen: set[int] = set()
    while isinstance(content, Mapping) and id(content) not in seen:  # a dictionary may contain itself
        seen.add(id(content))
        average = next((key for key in _AVERAGES if _is_state(content.get(key))), None)
        weights = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        key = average or weights
        if key is None:
            break
        if average and weights:
            both = f"weights ({weights}) and their running average ({average})"
            notes.append(f"The file has {both}; the average is used.")
        content = content[key]
    return content, notes


def _network_of_lightning(state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], list[str]]:
    """The weights of a LightningModule's network, and the names of the other tensors, such as those of losses and
    metrics.

    If none of the usual attributes holds the network, or several do, everything is returned.
    """
    holders = [prefix for prefix in _HOLDING if any(name.startswith(prefix) for name in state)]
    if len(holders) != 1:
        return state, []
    network = {name: tensor for name, tensor in state.items() if name.startswith(holders[0])}
    return network, [name for name in state if name not in network]


def _is_state(value: Any) -> bool:
    """Whether it is a dictionary of tensors. (In our checkpoints with lookahead, the average is a list of tensors.)"""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(tensor, Tensor) for tensor in value.values())


def _bare(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights under the network's own names."""
    if not isinstance(content, Mapping) or not content:
        raise TenchError(f"{path} contains {_kind(content)}, not weights by name. Pass a state dict.")
    others = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise TenchError(
            f"{path} contains no weights by name: {shown(others[0])} is {_kind(content[others[0]])}, and none of the "
            f"keys {', '.join(_WRAPPERS + _AVERAGES)} contains weights. Pass a state dict."
        )
    state: dict[str, Tensor] = {name: tensor for name, tensor in content.items() if name != _COUNTER}
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_meta or not _is_backed(tensor):
            raise TenchError(f"{path}: {shown(name)} is not a plain tensor with all its values. Pass a state dict.")
    state = _without_prefixes(state, _WRAPPING + _HOLDING)
    for part in {name.partition(".")[0] for name in state}:
        state = _without_prefixes(state, _WRAPPING, f"{part}.")
    return state


def _is_backed(tensor: Tensor) -> bool:
    """Whether the file contains every value of a tensor. After `expand`, a few bytes can represent a tensor of any
    size."""
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _without_prefixes(state: dict[str, Tensor], prefixes: tuple[str, ...], part: str = "") -> dict[str, Tensor]:
    """The state without the prefixes that all names below a part share.

    Prefixes further down belong to the network: timm's InceptionFormer has residual branches called `module`.
    """
    names = [name for name in state if name.startswith(part)]
    found = next((part + prefix for prefix in prefixes if all(name.startswith(part + prefix) for name in names)), None)
    if not names or found is None:
        return state
    bare = {name: part + name.removeprefix(found) if name.startswith(part) else name for name in state}
    return _without_prefixes({bare[name]: tensor for name, tensor in state.items()}, prefixes, part)


def _kind(value: Any) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a value of type {type(value).__name__}"
