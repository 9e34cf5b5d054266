"""Which networks there are: ours, then torchvision's, then timm's. A name in two of them means the first one's."""

import fnmatch
import re
from typing import cast

from tench.errors import UsageError, nearest
from tench.models import from_timm, from_torchvision, ours
from tench.models.source import Source

_SOURCES = cast(tuple[Source, ...], (ours, from_torchvision, from_timm))


def source_of(arch: str) -> Source:
    """The first source that knows the name. Raises UsageError with the nearest names where none does."""
    for source in _SOURCES:
        if source.knows(arch):
            return source
    raise UsageError(f"No network is called {arch!r}.{nearest(arch, find('*'))} tench models PATTERN lists them.")


def find(pattern: str) -> list[str]:
    """All names that match, each once, numbers in them in the order of numbers; upper and lower case are the same.

    pattern: with any of * ? [ it is matched with the whole name as a shell does it, otherwise it may stand anywhere in
    the name. Names of timm are listed without tags.
    """
    glob = pattern if re.search(r"[*?[]", pattern) else f"*{pattern}*"
    known = {name for source in _SOURCES for name in source.names()}
    return sorted((name for name in known if fnmatch.fnmatchcase(name.lower(), glob.lower())), key=_by_number)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts resnet18 before resnet101: digits compare as numbers, and before letters."""
    return [(int(part), "") if part.isdigit() else (2**63, part) for part in re.findall(r"\d+|\D+", name)]
