"""WordNet's classes: names by WordNet id, and the class lists of ImageNet and its evaluation sets.

The lists are package data of timm (read as files; timm itself is not imported). The devkit's numbering of ILSVRC2012
and the classes of Tiny-ImageNet are next to this module. Classes are always in the order of their WordNet ids.
"""

import functools
import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

WNID = re.compile(r"n\d{8}")
"""A WordNet id of a noun, such as n01440764 (tench)."""


def names_of(ids: Iterable[str]) -> list[str]:
    """The names of classes by WordNet id, "tench, Tinca tinca"; an unknown id is its own name."""
    listed = list(ids)
    if not any(WNID.fullmatch(class_id) for class_id in listed):
        return listed
    known = _lemmas()
    return [known.get(class_id, class_id) for class_id in listed]


@functools.cache
def imagenet() -> tuple[str, ...]:
    """The 1000 WordNet ids of ILSVRC2012, sorted: position 0 is n01440764, tench."""
    return tuple(_timm("imagenet_synsets.txt").split())


@functools.cache
def devkit_order() -> tuple[str, ...]:
    """The same 1000 ids in the order of the development kit: ILSVRC2012_ID k is at position k - 1."""
    return _listed("ilsvrc2012_ids.txt")


@functools.cache
def tiny_imagenet() -> tuple[str, ...]:
    """The 200 WordNet ids of Tiny-ImageNet-200, in the order of its wnids.txt."""
    return _listed("tiny_imagenet_ids.txt")


@functools.cache
def subset(letter: str) -> tuple[str, ...]:
    """The 200 WordNet ids of ImageNet-A ("a") or ImageNet-R ("r"), sorted."""
    return tuple(_timm(f"imagenet_{letter}_synsets.txt").split())


def position_of(ids: Sequence[str]) -> dict[str, int]:
    """The position of each id in a list."""
    return {class_id: position for position, class_id in enumerate(ids)}


@functools.cache
def _lemmas() -> dict[str, str]:
    lines = (line.split("\t", 1) for line in _timm("imagenet_synset_to_lemma.txt").splitlines() if "\t" in line)
    return {wnid: names.strip() for wnid, names in lines}


def _listed(file: str) -> tuple[str, ...]:
    """WordNet ids that a file next to this module lists as positions among the 1000."""
    positions = Path(__file__).with_name(file).read_text(encoding="ascii").split()
    return tuple(imagenet()[int(position)] for position in positions)


def _timm(file: str) -> str:
    found = importlib.util.find_spec("timm")
    assert found is not None
    assert found.submodule_search_locations is not None
    return (Path(found.submodule_search_locations[0]) / "data" / "_info" / file).read_text(encoding="utf-8")
