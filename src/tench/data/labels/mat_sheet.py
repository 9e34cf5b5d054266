"""Label tables in MATLAB files: structure arrays, or columns of equal length, as in Stanford Cars and Dogs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tench.data.labels.tables import IsImage, Sheet, looks_like_image, sample

_MOST_DEPTH = 8


def mat_sheet(variables: Mapping[str, Any], where: str, is_image: IsImage = looks_like_image) -> Sheet | None:
    """The table of a file's variables: the longest structure array or set of columns in which a column names images.

    variables: from `mat.read_mat`. None if there is no such table.
    """
    names = _class_names(variables)
    tables = [
        {field: flat(value[field]) for field in value.dtype.names}
        for value in variables.values()
        if isinstance(value, np.ndarray) and value.dtype.names
    ]
    columns: dict[int, dict[str, list[Any]]] = {}
    for name, value in variables.items():
        if isinstance(value, np.ndarray) and not value.dtype.names:
            column = flat(value)
            columns.setdefault(len(column), {})[name] = column
    for table in sorted([*tables, *columns.values()], key=lambda table: -max(map(len, table.values()), default=0)):
        texts = [column for column in table.values() if column and isinstance(column[0], str)]
        if any(_most(column, is_image) for column in texts):
            count = len(next(iter(table.values())))
            kept = {name: column for name, column in table.items() if len(column) == count}
            kept = {_RENAMED.get(name, name): column for name, column in kept.items()}
            told = None
            if names and "label" in kept:
                told = dict(enumerate(names, 1))
            return Sheet(where, tuple(kept), tuple(kept.values()), range(1, count + 1), unit="entry", told=told)
    return None


_RENAMED = {"file_list": "path", "labels": "label", "class": "label", "test": "is_test", "fname": "path"}


def _class_names(variables: Mapping[str, Any]) -> list[str] | None:
    """`class_names` of Stanford Cars: the names of the classes in their order, from 1."""
    value = variables.get("class_names")
    names = flat(value) if isinstance(value, np.ndarray) else None
    return names if names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names) else None


def class_names(variables: Mapping[str, Any]) -> list[str] | None:
    """The class names in a file of a devkit, such as cars_meta.mat."""
    return _class_names(variables)


def flat(value: Any) -> list[Any]:
    """The entries of an array in column-major order, each unwrapped from one-element arrays."""
    return [plain(entry) for entry in np.asarray(value).ravel(order="F").tolist()] if _is_array(value) else [value]


def plain(value: Any, depth: int = 0) -> Any:
    """A value without the one-element arrays in which MATLAB wraps it."""
    while _is_array(value) and value.size == 1 and not value.dtype.names and depth < _MOST_DEPTH:
        value, depth = value.ravel()[0], depth + 1
    if isinstance(value, np.generic):
        return value.item()
    if _is_array(value) and value.size == 0:
        return None
    return value


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _most(column: Sequence[Any], is_image: IsImage) -> bool:
    texts = [column[row] for row in sample(len(column)) if isinstance(column[row], str)]
    return bool(texts) and 2 * sum(map(is_image, texts)) > len(texts)
