"""The `.json` of a WebDataset sample: label, file name, and for shards that tench wrote, labels and boxes.

Other programs use fields of these names for other things, so a field is used only if it has the expected form.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from tench.data.files.names import is_image_name

_NUMBER_FIELDS = ("label", "cls", "class")
_TEXT_FIELDS = ("wnid", "synset", "label", "cls", "class", "class_name", "classname")
"""Fields that contain the label: as a number, or if there is none, as text."""
ID_FIELDS = (*_TEXT_FIELDS, "name")
"""Fields that name classes, if each label number has the same text in all samples and no two share a text."""
_FILE_FIELDS = ("filename", "file_name")

Label = int | str | None

_UNUSABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


def label_in(described: Mapping[str, Any]) -> Label:
    """The label: a number, else the class as text, else None."""
    for field in _NUMBER_FIELDS:
        value = described.get(field)
        if type(value) is int:  # not True, which is an int to isinstance
            return value
    texts = (described.get(field) for field in _TEXT_FIELDS)
    return next((text for text in texts if is_text(text)), None)


def value_in(described: Mapping[str, Any], field: str) -> Label:
    """The label in the field given by --keys: a number or text."""
    value = described.get(field)
    return value if type(value) is int or is_text(value) else None


def has_number(described: Mapping[str, Any]) -> bool:
    """Whether a field contains the label as a number."""
    return any(type(described.get(name)) is int for name in _NUMBER_FIELDS)


def file_in(described: Mapping[str, Any]) -> str | None:
    """The image's name, if it can be a key: the name of an image file that does not lead out of a folder."""
    called = next((described[field] for field in _FILE_FIELDS if field in described), None)
    if not is_text(called) or not is_image_name(called):
        return None
    return None if "/" in called and (called.startswith("/") or ".." in called.split("/")) else called


def labels_in(described: Mapping[str, Any]) -> list[float] | None:
    """All labels of an image that has several: numbers."""
    found = described.get("labels")
    if not isinstance(found, list) or not found or not all(map(_is_number, found)):
        return None
    return [float(label) for label in found]


def boxes_in(described: Mapping[str, Any]) -> list[list[float]] | None:
    """Boxes: xmin, ymin, xmax, ymax each, in 0..1."""
    found = described.get("boxes")
    return found if isinstance(found, list) and all(map(_is_box, found)) else None


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value from a .json can be a class or a key: JSON may also contain lone surrogates and line ends."""
    return isinstance(value, str) and value != "" and not _UNUSABLE.search(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        return False
    xmin, ymin, xmax, ymax = value
    return bool(0 <= xmin <= xmax <= 1 and 0 <= ymin <= ymax <= 1)
