"""Find the networks that weights may belong to, by the names and shapes of their tensors.

Building every network of torchvision, timm and edgeai takes minutes, so fingerprints are stored in fingerprints.txt:
one line per fingerprint, with the networks that have it. The file is a hint: it belongs to one version of the
libraries, and networks with the same fingerprint may still compute differently (`resnet50` and a ResNet with another
activation). `python -m tench.models.fingerprints` regenerates it.
"""

import functools
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from tench.errors import UsageError, some
from tench.models import from_timm
from tench.models.info import usual_dry_run
from tench.models.registry import find, source_of

_FILE = Path(__file__).with_name("fingerprints.txt")
_SOURCES = ("tench", "torchvision", "timm", "edgeai")
"""Sources whose networks other programs save as PyTorch state dicts."""


def fingerprints(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """(of the names, of the shapes in their order), without counters.

    The last layer, which depends on the classes, counts for the names only.
    """
    names = [name for name in state if not name.endswith(".num_batches_tracked")]
    last = names[-1].rpartition(".")[0] if names else ""
    shapes = [tuple(state[name].shape) for name in names if name.rpartition(".")[0] != last]
    return _short_hash(sorted(names)), _short_hash(shapes)


def nearest_archs(state: Mapping[str, Tensor]) -> list[str]:
    """The networks whose tensors have these names and shapes; if there are none, those with these shapes in order."""
    return archs_like(state) or archs_like(state, by_names=False)


def fit_hint(state: Mapping[str, Tensor]) -> str:
    """A sentence, after a space, that names the networks with these tensors; empty if none has them."""
    if exact := archs_like(state):
        return f" Its tensors have the names and shapes of {some(exact, 5)}."
    if similar := archs_like(state, by_names=False):
        return f" Its tensors have, in order, the shapes of {some(similar, 5)}."
    return ""


def unnamed_network(source: str, state: Mapping[str, Tensor]) -> UsageError:
    """The error about a file that does not name the network of its weights."""
    return UsageError(
        f"{source}: the file does not name its network.{fit_hint(state)} Add -a ARCH; tench models PATTERN lists the "
        "names."
    )


def archs_like(state: Mapping[str, Tensor], *, by_names: bool = True) -> list[str]:
    """The networks whose tensors have these names and shapes; with by_names=False, only these shapes in this order."""
    names, shapes = fingerprints(state)
    found = _table().get(shapes, {})
    return list(found.get(names, ())) if by_names else [arch for archs in found.values() for arch in archs]


def _short_hash(values: Sequence[object]) -> str:
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:12]


@functools.cache
def _table() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """By the fingerprint of the shapes, then of the names: the networks."""
    found: dict[str, dict[str, Sequence[str]]] = {}
    for line in _FILE.read_text("utf-8").splitlines():
        shapes, names, *archs = line.split()
        found.setdefault(shapes, {})[names] = archs
    return found


def table_text(archs: Sequence[str]) -> str:
    """The lines of the file for these networks. Networks that cannot be built are left out and reported on stderr."""
    found: dict[tuple[str, str], list[str]] = {}
    for arch in archs:
        try:
            names, shapes = usual_dry_run(arch, lambda network, _: fingerprints(network.state_dict()))
        except Exception as error:  # each library has its own errors, for example for a missing package
            print(f"{arch}: left out ({error})", file=sys.stderr)
            continue
        found.setdefault((shapes, names), []).append(arch)
    return "".join(f"{shapes} {names} {' '.join(archs)}\n" for (shapes, names), archs in sorted(found.items()))


def all_archs() -> list[str]:
    """The networks that belong in the file. Those of timm whose plain name means another source's have its prefix."""
    known = [arch for arch in find("*") if source_of(arch).NAME in _SOURCES]
    hidden = [f"timm:{arch}" for arch in from_timm.names() if source_of(arch).NAME != from_timm.NAME]
    return known + hidden


if __name__ == "__main__":
    _FILE.write_text(table_text(all_archs()), "utf-8")
