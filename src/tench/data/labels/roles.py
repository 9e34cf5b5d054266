"""The roles of a table's columns: the image, its label, its split, or none.

A column called label or class is the label. Otherwise the label is the only column that can be one, with few different
values and no fractions. Columns that correspond one to one (a number and a name) count as one. Several 0/1 columns are
classes. If it is unclear, an error lists the columns and the user chooses with `--label` or `--split-from`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tench.data import splits
from tench.data.formats.column_names import LABEL_COLUMNS, TAXONOMY
from tench.data.labels.tables import PATH_COLUMNS, IsImage, Sheet, image_column, sample
from tench.data.options import SourceOptions
from tench.errors import TenchError, UsageError, some

_LABEL_WORD = re.compile(r"(?:^|[^a-z])(?:labels?|class|category|target|superclass|subclass)(?![a-z])")
_KINDS = re.compile(r"(?:super|sub|master|coarse|fine|main)[ _]?(?:class|category|label)s?")
_SPLIT_COLUMNS = frozenset("split subset set partition usage phase data_set dataset train_test image_set".split())
_MUST_BE_SPLITS = ("split", "subset")
_FOLD = re.compile(r"(?:k|cv)?_?folds?(?:_?id)?")
_BOX = re.compile(
    r"(?:roi[._ ]?|bbox[._ ]?|bndbox[._ ]?|box[._ ]?)?(?:[xy](?:[._ ]?(?:min|max|center|[0-4]))?|[xy]_?cent(?:er|re)|"
    r"min[xy]|max[xy]|w|h|width|height|left|top|right|bottom)|(?:bbox|bndbox|boxes|box|roi)(?:$|[._ ].*)|area|iscrowd|"
    r"segmentations?|polygons?|encodedpixels|rle|(?:image|img|original)[._ ]?(?:width|height|size).*|originalimage.*|"
    r"height\]|y\]"
)
_NO_LABEL = re.compile(
    r"(?:unnamed:? ?\d*|index|idx|id|key|uid|uuid|row|no\.?|number|#|url|uri|md5|sha\d*|hash|license|rights_holder|"
    r"date|time|timestamp|datetime|created_at|updated_at|date_captured|annotation_id|annotator|completed_by|lead_time|"
    r"latitude|longitude|lat|lon|lng|location_uncertainty|depth|size|bytes|confidence|score|pixels?|text|caption|"
    r"description|comments?|notes?|user_id|observer|photographer|patient[ _]?id|lesion_id|study[ _]?id|seq_id|"
    r"individual_id|event_id|frame_num)"
)
"""Names of columns that are never the class; they are the label only if `--label` names them."""

_ONE, _ZERO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "-1", "-1.0", "false"})
_FRACTION = re.compile(r"[+-]?(?:\d+\.\d*[1-9]\d*|\.\d*[1-9]\d*|\d+\.?\d*[eE][+-]?\d+)")
_WHOLE = re.compile(r"\s*[+-]?\d+(\.0*)?\s*")
_FEW = 20
"""In a table with up to this many rows every label may be different."""
_MOSTLY = 0.8
"""If at least this share of the images has exactly one label, 0/1 columns are classes; the other images have
several."""
_MOST_DISTINCT_SPLITS = 50
_LONGEST_LABEL = 200
_TAXONOMY_LEVELS = 3
"""With this many columns of a taxonomy, a column called class is the biological class, next to order and family."""


@dataclasses.dataclass(frozen=True)
class Roles:
    """The columns of a table by their position.

    label: None if the table has no labels, or if they are in `hot`. hot: a 0/1 column per class. split,
    split_of: the column of splits, and the split by its stripped text. order: the column that numbers the labels.
    question: why the label is unknown, as a sentence that ends with the option; candidates: the columns to choose from.
    """

    path: int
    label: int | None = None
    hot: tuple[int, ...] = ()
    split: int | None = None
    split_of: Mapping[str, str] = dataclasses.field(default_factory=dict)
    order: int | None = None
    boxes: bool = False
    question: str = ""
    candidates: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def roles_of(sheet: Sheet, is_image: IsImage, options: SourceOptions) -> Roles:
    """The role of each column of a table. Raises TenchError if the split column contains other values.

    An option that names no column of this table is not an error, because a source can have several tables.
    """
    path = _path_column(sheet, is_image)
    if sheet.words:
        return Roles(path, label=1 if len(sheet.columns) > 1 else None)
    notes: list[str] = []
    rest = [at for at in range(len(sheet.columns)) if at != path]
    named = None if options.label is None else sheet.column(options.label)
    split, split_of = _split_column(sheet, [at for at in rest if at != named], options, notes)
    rest = [at for at in rest if at != split]
    boxes = [at for at in rest if _BOX.fullmatch(_name(sheet, at))]
    if not sheet.headed:
        boxes = _unnamed_boxes(sheet, rest)
    if boxes:
        shown = some([repr(sheet.columns[at]) for at in boxes], 8)
        notes.append(f"{sheet.where}: columns of sizes and boxes are not used ({shown}).")
    roles = Roles(path, split=split, split_of=split_of, boxes=bool(boxes), notes=tuple(notes))
    if named is not None:
        return _chosen(sheet, roles, named, [])
    if sheet.told is not None and (label := sheet.column("label")) is not None:
        return _chosen(sheet, roles, label, rest)
    return _with_label(sheet, roles, [at for at in rest if at not in boxes], is_image)


def _with_label(sheet: Sheet, roles: Roles, rest: Sequence[int], is_image: IsImage) -> Roles:
    empty = [at for at in rest if not _different(sheet.cells[at])]
    rest = [at for at in rest if at not in empty]
    explicit = [at for at in rest if _says_label(_name(sheet, at))]
    explicit.sort(key=lambda at: _rank(_name(sheet, at)))
    levels = [at for at in rest if _name(sheet, at) in TAXONOMY]
    if len(levels) >= _TAXONOMY_LEVELS and set(explicit) <= set(levels):  # its class is one of several levels
        differing = [at for at in levels if len(_different(sheet.cells[at])) > 1]
        if len(groups := _groups(sheet, differing)) > 1:
            return _asked(sheet, roles, [group[0] for group in groups])
    if explicit:
        groups = _groups(sheet, explicit)
        if len(groups) > 1:
            return _asked(sheet, roles, [group[0] for group in groups])
        return _chosen(sheet, roles, explicit[0], rest)
    rest = [at for at in rest if not _NO_LABEL.fullmatch(_name(sheet, at)) and _name(sheet, at) not in PATH_COLUMNS]
    hot = [at for at in rest if _is_hot(sheet.cells[at])]
    others = [at for at in rest if at not in hot and _can_be_label(sheet, at, is_image)]
    if len(hot) > 1:
        ones = list(map(sum, zip(*(map(is_one, sheet.cells[at]) for at in hot), strict=True)))
        single = sum(count == 1 for count in ones)
        if single == len(ones) or (not others and 0 not in ones and single >= _MOSTLY * len(ones)):
            shown = some([repr(sheet.columns[at]) for at in hot])
            note = f"{sheet.where}: the classes are the {len(hot)} columns with 0 and 1 ({shown})."
            return dataclasses.replace(roles, hot=tuple(hot), notes=(*roles.notes, note))
        if not others:
            question = (
                f"{sheet.where}: {len(hot)} columns contain 0 and 1, and {len(ones) - single:,} of {len(ones):,} "
                f"images have several 1s, or none: {some([repr(sheet.columns[at]) for at in hot], 8)}. A classifier "
                f"needs one label per image. Choose a column, as in --label {_quoted(sheet.columns[hot[0]])}"
            )
            return dataclasses.replace(roles, question=question, candidates=tuple(hot))
    candidates = sorted([*others, *hot])
    if not candidates:
        if numbers := [at for at in rest if _is_regression(sheet.cells[at])]:
            return dataclasses.replace(roles, question=_regression(sheet, numbers[0]), candidates=tuple(numbers))
        return roles
    groups = _groups(sheet, candidates)
    if len(groups) == 1:
        return _chosen(sheet, roles, candidates[0], rest)
    return _asked(sheet, roles, [group[0] for group in groups])


def _chosen(sheet: Sheet, roles: Roles, label: int, rest: Sequence[int]) -> Roles:
    """These roles with a label. If a number and a name correspond, the name is the label and the number its order."""
    order = None
    together = next((group for group in _groups(sheet, _explicit_first(sheet, label, rest)) if label in group), [label])
    if sheet.told is None and rest:
        texts = [at for at in together if not _is_numeric(sheet.cells[at])]
        numbers = [at for at in together if _is_numeric(sheet.cells[at])]
        if texts:
            label = texts[0]
            order = next((at for at in numbers if _counts(sheet.cells[at])), None)
    if not sheet.headed and len(sheet.columns) <= 2:
        return dataclasses.replace(roles, label=label, order=order)
    note = f"{sheet.where}: the labels come from column {sheet.columns[label]!r}"
    others = [at for at in rest if at != label and (at in together or _says_label(_name(sheet, at)))]
    note += f", not {', '.join(repr(sheet.columns[at]) for at in others)}." if others else "."
    return dataclasses.replace(roles, label=label, order=order, notes=(*roles.notes, note))


def _explicit_first(sheet: Sheet, label: int, rest: Sequence[int]) -> list[int]:
    return [label, *(at for at in rest if at != label and _says_label(_name(sheet, at)))]


def _asked(sheet: Sheet, roles: Roles, candidates: Sequence[int]) -> Roles:
    shown = ", ".join(f"{sheet.columns[at]!r} ({_values(sheet.cells[at])})" for at in candidates[:12])
    more = f" and {len(candidates) - 12} more" if len(candidates) > 12 else ""
    likely = min(candidates, key=lambda at: len(_different(sheet.cells[at])) > len(sheet) / 2)
    question = (
        f"{sheet.where}: {len(candidates)} columns can be the label: {shown}{more}. Choose one with --label COLUMN, "
        f"for example --label {_quoted(sheet.columns[likely])}"
    )
    return dataclasses.replace(roles, question=question, candidates=tuple(candidates))


def _regression(sheet: Sheet, at: int) -> str:
    distinct = len({str(cell) for cell in sheet.cells[at]})
    return (
        f"{sheet.where}: column {sheet.columns[at]!r} contains {distinct:,} different fractional numbers, which is a "
        "quantity to predict, not a class. tench trains classifiers. If another column is the label, name it with "
        "--label COLUMN; to classify by ranges, add a column that names the range of each image"
    )


def _values(cells: Sequence[Any]) -> str:
    distinct = sorted({str(cell).strip() for cell in _different(cells)})
    return f"{len(distinct):,} values: {', '.join(distinct[:3])}{', ...' if len(distinct) > 3 else ''}"


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _path_column(sheet: Sheet, is_image: IsImage) -> int:
    """The column of paths: one with a known name and image cells, else any with image cells, else a known name."""
    names = [_name(sheet, at) for at in range(len(sheet.columns))]
    known = [names.index(name) for name in PATH_COLUMNS if name in names]
    rows = sample(len(sheet))
    cells = [[column[row] for row in rows] for column in sheet.cells]
    for at in known:
        if image_column([cells[at]], is_image, [names[at]]) == 0:
            return at
    found = image_column(cells, is_image, names if sheet.headed else [""] * len(names))
    if found < 0 and not known:
        raise TenchError(
            f"{sheet.where}: none of its columns names images of this source. Its columns are: "
            f"{some([repr(name) for name in sheet.columns], 12)}. Pass --images FOLDER, or "
            "name the column of paths `path`."
        )
    return found if found >= 0 else known[0]


def _name(sheet: Sheet, at: int) -> str:
    return sheet.columns[at].strip().lower().lstrip("#")


def _says_label(name: str) -> bool:
    return name in LABEL_COLUMNS or bool(_LABEL_WORD.search(name)) or bool(_KINDS.fullmatch(name))


def _rank(name: str) -> int:
    return LABEL_COLUMNS.index(name) if name in LABEL_COLUMNS else len(LABEL_COLUMNS)


# Splits


def _split_column(
    sheet: Sheet, rest: Sequence[int], options: SourceOptions, notes: list[str]
) -> tuple[int | None, Mapping[str, str]]:
    if options.split_from is not None:
        name, equals, values = options.split_from.partition("=")
        if (at := sheet.column(name)) is not None:
            return at, _asked_splits(sheet, at, values.split(",") if equals else None)
        if sheet.column(options.split_from) is None:
            return None, {}
    found: list[tuple[int, Mapping[str, str]]] = []
    for at in rest:
        name = _name(sheet, at)
        by_name = name in _SPLIT_COLUMNS or splits.split_of(name.replace("is_", "")) is not None
        if not by_name and not isinstance(sheet.cells[at][0] if len(sheet) else None, str):
            continue
        distinct = _distinct(sheet.cells[at], _MOST_DISTINCT_SPLITS)
        told = None if distinct is None else splits.splits_of_values(name, sorted(distinct))
        if name in _MUST_BE_SPLITS and told is None:
            raise _no_split(sheet, at)
        if told and (by_name or len(set(told.values())) > 1):
            found.append((at, told))
    if len(found) > 1:
        found = [one for one in found if not _is_bare(sheet, one[0])] or found
        first = [found[0][1].get(str(cell).strip()) for cell in sheet.cells[found[0][0]]]
        for at, told in found[1:]:
            if [told.get(str(cell).strip()) for cell in sheet.cells[at]] != first:
                shown = ", ".join(repr(sheet.columns[one]) for one, _ in found)
                raise TenchError(
                    f"{sheet.where}: the columns {shown} name different splits. Choose one with --split-from COLUMN, "
                    f"for example --split-from {_quoted(sheet.columns[found[0][0]])}"
                )
    if found and _is_bare(sheet, found[0][0]) and _is_class_among(sheet, found[0][0], rest):
        return None, {}
    if found:
        at, told = found[0]
        shown = ", ".join(f"{value or 'empty'} is {split}" for value, split in sorted(told.items()) if value != split)
        notes.append(f"{sheet.where}: the splits come from column {sheet.columns[at]!r}{f' ({shown})' * bool(shown)}.")
        return at, told
    for at in rest:
        distinct = _distinct(sheet.cells[at], _MOST_DISTINCT_SPLITS) if _FOLD.fullmatch(_name(sheet, at)) else None
        if distinct is not None and len(distinct) > 1:
            value = min(distinct, key=lambda text: (len(text), text))
            name = _quoted(sheet.columns[at])
            raise TenchError(
                f"{sheet.where}: column {sheet.columns[at]!r} divides the images into {len(distinct)} folds: "
                f"{some(sorted(distinct), 10)}. Choose the one for val; the rest is train: --split-from "
                f"{name}={value}"
            )
    return None, {}


def _asked_splits(sheet: Sheet, at: int, val: Sequence[str] | None) -> Mapping[str, str]:
    """The split by the text of the column given by `--split-from`, alone or with the values that are val."""
    distinct = {str(cell).strip() for cell in sheet.cells[at]}
    name = sheet.columns[at]
    if val is None:
        if told := splits.splits_of_values(name, sorted(distinct)):
            return told
        raise UsageError(
            f"{sheet.where}: the values of column {name!r} do not name splits: {some(sorted(distinct))}. Choose "
            f"the one for val; the rest is train: --split-from {_quoted(name)}={min(distinct)}"
        )
    wanted = {value.strip() for value in val}
    if unknown := sorted(wanted - distinct):
        raise UsageError(
            f"{sheet.where}: column {name!r} has no value {unknown[0]!r}, which --split-from names. Its values are "
            f"{some(sorted(distinct))}."
        )
    return {value: splits.VAL if value in wanted else splits.TRAIN for value in distinct}


def _no_split(sheet: Sheet, at: int) -> TenchError:
    column, name = sheet.cells[at], sheet.columns[at]
    row = next(row for row, cell in enumerate(column) if splits.split_of(str(cell)) is None)
    return TenchError(
        f"{sheet.place(row)}: {str(column[row])!r} in column {name!r} is not a split (train, val or test). Correct it, "
        f"or name the value for val: --split-from {_quoted(name)}={_quoted(str(column[row]).strip())}"
    )


def _is_bare(sheet: Sheet, at: int) -> bool:
    """Whether a yes/no column is called train, valid or test; each of these can also be a class."""
    name = _name(sheet, at)
    return not name.startswith("is_") and name not in _SPLIT_COLUMNS and _is_hot(sheet.cells[at])


def _is_class_among(sheet: Sheet, at: int, rest: Sequence[int]) -> bool:
    """Whether a 0/1 column is one of several with exactly one 1 per row."""
    hot = [other for other in rest if _is_hot(sheet.cells[other])]
    if at not in hot or len(hot) < 2:
        return False
    return all(count == 1 for count in map(sum, zip(*(map(is_one, sheet.cells[one]) for one in hot), strict=True)))


def _distinct(cells: Sequence[Any], at_most: int) -> set[str] | None:
    """The distinct texts of a column; None if there are too many."""
    found: set[Any] = set()
    for cell in cells:
        if isinstance(cell, list | dict):
            return None
        if cell not in found:
            found.add(cell)
            if len(found) > at_most:
                return None
    return {"" if cell is None else str(cell).strip() for cell in found}


# What cells contain


def _is_empty(cell: Any) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def is_one(cell: Any) -> bool:
    """Whether a cell of a 0/1 column means yes."""
    return str(cell).strip().lower() in _ONE


def _is_hot(cells: Sequence[Any]) -> bool:
    """Whether a column has only 0 and 1 (or -1 and 1, false and true)."""
    distinct = _distinct(cells, 4)
    return distinct is not None and all(text.lower() in _ONE | _ZERO for text in distinct)


def _is_numeric(cells: Sequence[Any]) -> bool:
    return all(
        isinstance(cell, int | float) or (isinstance(cell, str) and _WHOLE.fullmatch(cell) is not None)
        for cell in _different(cells)
    )


def _different(cells: Sequence[Any]) -> set[Any]:
    """The distinct non-empty cells; lists and objects as their text."""
    try:
        found = set(cells)
    except TypeError:
        found = {str(cell) if isinstance(cell, list | dict) else cell for cell in cells}
    return {cell for cell in found if not _is_empty(cell)}


def _counts(cells: Sequence[Any]) -> bool:
    """Whether a column numbers its values without gaps, from 0 or 1."""
    numbers = {int(float(cell)) for cell in _different(cells)}
    return bool(numbers) and min(numbers) in (0, 1) and max(numbers) - min(numbers) + 1 == len(numbers)


def _is_regression(cells: Sequence[Any]) -> bool:
    distinct = {str(cell).strip() for cell in _different(cells)}
    return len(distinct) > 2 and 2 * sum(bool(_FRACTION.fullmatch(text)) for text in distinct) > len(distinct)


def _can_be_label(sheet: Sheet, at: int, is_image: IsImage) -> bool:
    cells = sheet.cells[at]
    if any(isinstance(cell, dict) for cell in cells):
        return False
    distinct = {str(cell).strip() for cell in _different(cells)}
    num_filled = sum(not _is_empty(cell) for cell in cells) if len(distinct) > len(cells) / 4 else len(cells)
    if len(distinct) < 2 or (len(distinct) > num_filled / 2 and num_filled > _FEW):
        return False
    if _is_regression(cells) or max(map(len, distinct)) > _LONGEST_LABEL:
        return False
    taken = [cells[row] for row in sample(len(cells)) if not _is_empty(cells[row])]
    return not any("://" in str(cell) for cell in taken) and not all("/" in str(c) and is_image(str(c)) for c in taken)


def _groups(sheet: Sheet, columns: Sequence[int]) -> list[list[int]]:
    """Groups of columns whose values correspond one to one."""
    groups: list[list[int]] = []
    for at in columns:
        for group in groups:
            if _go_together(sheet.cells[group[0]], sheet.cells[at]):
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def _go_together(one: Sequence[Any], other: Sequence[Any]) -> bool:
    there: dict[str, str] = {}
    back: dict[str, str] = {}
    for a, b in zip(one, other, strict=True):
        a, b = str(a).strip(), str(b).strip()
        if there.setdefault(a, b) != b or back.setdefault(b, a) != a:
            return False
    return True


def _unnamed_boxes(sheet: Sheet, rest: Sequence[int]) -> list[int]:
    """Four neighbouring columns of whole numbers, left, top, right and bottom, in a table without names.

    A few boxes may be empty: Tiny-ImageNet has some a pixel thin.
    """
    for start in range(len(rest) - 3):
        four = list(rest[start : start + 4])
        if four != list(range(four[0], four[0] + 4)) or not all(_is_numeric(sheet.cells[at]) for at in four):
            continue
        boxes = [[float(cell) for cell in row] for row in zip(*(sheet.cells[at] for at in four), strict=True)]
        filled = sum(left < right and top < bottom for left, top, right, bottom in boxes)
        if all(left <= right and top <= bottom for left, top, right, bottom in boxes) and 10 * filled > 9 * len(boxes):
            return four
    return []
