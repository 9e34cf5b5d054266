"""The list of networks: ours, torchvision's and timm's by their names, other systems' as `SYSTEM:NAME`.

If several of the first three have a network of the same name, the first one's is used; `timm:resnet50` means timm's.
"""

import fnmatch
import re
from typing import cast

from tench.arguments import checked_arguments
from tench.errors import UsageError, nearest
from tench.models import apm5, edgeai, from_timm, from_torchvision, gluon, nnabla, ours
from tench.models.mxnet import source as mxnet
from tench.models.source import NetworkSource
from tench.own_code import names_code

_PLAIN = cast(tuple[NetworkSource, ...], (ours, from_torchvision, from_timm))
"""Their names need no prefix. Of several networks with the same name, the first is used."""
_SYSTEMS = cast(tuple[NetworkSource, ...], (apm5, edgeai, gluon, mxnet, nnabla))
"""Their names always have the system's name as a prefix."""

_NAMES = sorted(source.NAME for source in (*_PLAIN, *_SYSTEMS))


def source_of(arch: str) -> NetworkSource:
    """The source that has the network. Raises UsageError with the nearest names if none has it."""
    system, name = _split(arch)
    for source in _PLAIN if system is None else [*_PLAIN, *_SYSTEMS]:
        if system in (None, source.NAME) and source.knows(name):
            return source
    if own := _OWN_FILE.fullmatch(arch):
        module, name = own[1].replace("/", "."), own[2] or "FUNCTION"
        raise UsageError(f"{arch!r} looks like a network of your own. Write it as MODULE:FUNCTION: -a {module}:{name}.")
    if system is not None and not is_system(system) and names_code(arch):
        raise UsageError(
            f"{arch!r} names Python code. Only tench train -a and tench.fit(model=...) accept a network of your own. "
            f"Known systems: {', '.join(_NAMES)}."
        )
    raise UsageError(
        f"No network is called {arch!r}.{nearest(arch, find('*'))} tench models PATTERN lists them. Write a network of "
        "your own as MODULE:FUNCTION."
    )


_OWN_FILE = re.compile(r"(?:\./)?([A-Za-z_][\w/]*)\.py(?::([A-Za-z_]\w*))?")
"""A file of the user's own: mynet.py, ./nets/mynet.py:MyNet."""


def nearest_system(name: str) -> str:
    """A hint for an unknown prefix: " Did you mean 'timm'?", or nothing."""
    return nearest(name, _NAMES)


def is_system(name: str) -> bool:
    """Whether networks can be named `NAME:network`."""
    return name in _NAMES


def name_in_source(arch: str) -> str:
    """The name by which its source knows the network: without the system's prefix."""
    return _split(arch)[1]


@checked_arguments()
def find(pattern: str = "*") -> list[str]:
    """List the names of networks that match, each once, in natural order (resnet18 before resnet101).

    pattern: a part of the name, or, with any of * ? [, a shell pattern for the whole name; case is ignored. timm's
    names are listed without tags.

    >>> tench.list_models("nnabla:resnet?[04]")
    ['nnabla:resnet34', 'nnabla:resnet50']
    """
    glob = pattern if re.search(r"[*?[]", pattern) else f"*{pattern}*"
    known = {name for source in _PLAIN for name in source.names()}
    known |= {f"{source.NAME}:{name}" for source in _SYSTEMS for name in source.names()}
    return sorted((name for name in known if fnmatch.fnmatchcase(name.lower(), glob.lower())), key=_by_number)


def _split(arch: str) -> tuple[str | None, str]:
    """ "nnabla:resnet50" -> ("nnabla", "resnet50"), "resnet50" -> (None, "resnet50")"""
    system, colon, name = arch.rpartition(":")
    return (system, name) if colon else (None, name)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts resnet18 before resnet101: digits compare as numbers, and before letters."""
    return [(int(part), "") if part.isdigit() else (2**63, part) for part in re.findall(r"\d+|\D+", name)]
