"""Choose which lists of a source are read: one for each split.

Lists whose names differ only in their split are a family (train.csv, val.csv). If several families list the same
splits, they are folds (DTD), levels of one hierarchy (FGVC-Aircraft) or something else that only the user knows.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

from tench.data import splits
from tench.data.files.tree import Tree
from tench.data.labels.label_files import text_of_cell
from tench.data.labels.listing import Listed
from tench.data.labels.roles import Roles, roles_of
from tench.data.labels.tables import Sheet
from tench.data.options import SourceOptions, pattern_of
from tench.data.splits import SPLITS, TRAIN, VAL
from tench.errors import TenchError, some


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """A table of a source. name: its file. split: from the file's name or folder, or from --split-from if `asked`.
    family: the file's name without the split."""

    name: str
    split: str | None
    family: str
    union: bool
    sheet: Sheet | None
    roles: Roles | None
    listed: Listed | None = None
    asked: bool = False

    @property
    def labelled(self) -> bool:
        if self.roles is None:
            return True
        return self.roles.label is not None or bool(self.roles.hot) or bool(self.roles.question)


@dataclasses.dataclass(frozen=True)
class Placed:
    """A list and the names of its images from the tree's root; None for each image that was not found."""

    source: LabelFile
    listed: Listed
    names: list[str | None]


def family_of(name: str) -> str:
    """A list's name without split folders, split and suffix: the part that it shares with its siblings."""
    folder, _, file = name.rpartition("/")
    stem = os.path.splitext(file)[0]
    kept = [part for part in folder.split("/") if part and splits.split_of(part) is None]
    return "/".join([*kept, without_split(stem)])


def without_split(stem: str) -> str:
    return re.sub(
        r"(?i)train[-_ ]?and[-_ ]?val|train[-_+ ]?val(?:id)?|train(?:ing)?(?:_?set|_?data)?|valid(?:ation)?(?:_?set)?|"
        r"val(?:_?set|_?data)?|test(?:ing)?(?:_?set|_?data)?|dev",
        "*",
        stem,
        count=1,
    )


def merged(sources: Sequence[LabelFile]) -> list[LabelFile]:
    """Merge lists that are in every class folder, as in GTSRB, into one list of the folder above."""
    groups: dict[Any, list[LabelFile]] = {}
    for source in sources:
        folder, _, file = source.name.rpartition("/")
        above, _, own = folder.rpartition("/")
        if source.sheet is None or splits.split_of(own) is not None:
            groups[source.name] = [source]
            continue
        pattern = re.sub(r"\d+", "#", file.replace(own, "*") if own else file)
        groups.setdefault((above, pattern, source.sheet.columns), []).append(source)
    merged: list[LabelFile] = []
    for group in groups.values():
        if len({source.name.rpartition("/")[0] for source in group}) < 2:
            merged += group
            continue
        first = group[0]
        folder = first.name.rpartition("/")[0].rpartition("/")[0]
        cells: list[list[Any]] = [[] for _ in first.sheet.columns] if first.sheet else []
        lines: list[int] = []
        for source in group:
            assert source.sheet is not None
            assert source.roles is not None
            inner = source.name.rpartition("/")[0].rpartition("/")[2]
            for at, column in enumerate(source.sheet.cells):
                is_path = at == source.roles.path
                cells[at] += [f"{inner}/{text_of_cell(cell)}" for cell in column] if is_path else column
            lines += source.sheet.lines
        assert first.sheet is not None
        where = f"{first.sheet.where} and {len(group) - 1:,} like it"
        sheet = dataclasses.replace(first.sheet, where=where, cells=tuple(cells), lines=lines)
        roles = roles_of(sheet, lambda text: True, _no_options(first))
        name = f"{folder}/{first.name.rpartition('/')[2]}" if folder else first.name.rpartition("/")[2]
        merged.append(dataclasses.replace(first, name=name, sheet=sheet, roles=roles))
    return merged


def chosen(tree: Tree, sources: Sequence[LabelFile], notes: list[str]) -> list[LabelFile]:
    """The lists to read: one for each split. Raises TenchError if there are several to choose from."""
    told = [source for source in sources if source.split]
    others = [source for source in sources if not source.split]
    for source in [source for source in told if source.union]:
        if any(one.split == VAL and one.family == source.family for one in told) and any(
            one.split == TRAIN and not one.union and one.family == source.family for one in told
        ):
            told.remove(source)
            notes.append(f"{tree.place(source.name)} contains train and val together, so it is not used.")
    told = _one_family(tree, told, notes)
    has_train = any(source.split == TRAIN and source.labelled for source in told)
    if has_train:
        unused = [source for source in others if not _divides(source, told)]
    else:
        unlabelled = [source for source in others if not source.labelled]
        labelled = [source for source in others if source.labelled]
        unused = unlabelled if labelled else []
        if len(labelled) > 1 or (not labelled and len(others) > 1):
            labelled = _one_of(tree, labelled or others)
            unused = [source for source in others if source not in labelled]
    notes += [f"{tree.place(source.name)} is not used, because other files list the images." for source in unused]
    return [*told, *(source for source in others if source not in unused)]


def _divides(source: LabelFile, told: Sequence[LabelFile]) -> bool:
    """Whether a table without a split is needed, because the lists with splits have no labels."""
    return source.labelled and not any(one.labelled for one in told)


def _one_family(tree: Tree, told: list[LabelFile], notes: list[str]) -> list[LabelFile]:
    """One list for each split, all from one family if several families list the same splits."""
    if (asked := _matching(tree, told)) is not None:
        told = asked
    by_split: dict[str, list[LabelFile]] = {}
    for source in told:
        assert source.split is not None
        by_split.setdefault(source.split, []).append(source)
    for split, members in by_split.items():  # prefer lists with labels
        labelled = [source for source in members if source.labelled]
        if labelled and len(labelled) < len(members):
            by_split[split] = labelled
            unused = [source for source in members if source not in labelled]
            notes += [
                f"{tree.place(source.name)} is not used, because it has no labels and {labelled[0].name} does."
                for source in unused
            ]
    if all(len(members) == 1 for members in by_split.values()):
        return [members[0] for members in by_split.values()]
    families: dict[str, list[LabelFile]] = {}
    for split in [split for split in SPLITS if split in by_split]:
        for source in by_split[split]:
            families.setdefault(source.family, []).append(source)
    if len(families) > 1:
        families = _asked_family(tree, families)
    remaining = [source for members in families.values() for source in members]
    seen: dict[str, LabelFile] = {}
    for source in remaining:
        assert source.split is not None
        if source.split in seen:
            raise both_list(tree, source.split, seen[source.split].name, source.name)
        seen[source.split] = source
    return remaining


def both_list(tree: Tree, split: str, one: str, other: str) -> TenchError:
    return TenchError(
        f"{tree.root}: {one} and {other} both list images of the split {split!r}. Leave one out, for example "
        f"with --exclude '{other}', or pass the lists to use, for example as the pattern '{{train,val}}.txt'."
    )


def _matching(tree: Tree, told: Sequence[LabelFile]) -> list[LabelFile] | None:
    """The lists whose path matches the regular expression of --split-from, with the split that its first group
    names."""
    if (pattern := split_expression(tree)) is None:
        return None
    found = []
    for source in told:
        match = pattern.search(source.name)
        split = splits.split_of(match[1]) if match and match[1] else None
        if split is not None:
            found.append(dataclasses.replace(source, split=split, asked=True))
    return found or None


def split_expression(tree: Tree) -> re.Pattern[str] | None:
    """--split-from, if it is a regular expression."""
    pattern = tree.options.split_from
    if pattern is None or "(" not in pattern:
        return None
    return pattern_of("split_from", pattern, "split")


def _asked_family(tree: Tree, families: dict[str, list[LabelFile]]) -> dict[str, list[LabelFile]]:
    """The family of lists chosen by an option, if several families list the same splits."""
    if len({re.sub(r"\d+", "#", family) for family in families}) == 1:
        tokens = {(re.findall(r"\d+", family) or [family])[-1].lstrip("0") or "0": family for family in families}
        option, flag = tree.options.split_from, "--split-from"
        what = f"divide the images in {len(families)} ways"
    else:
        common = _common_start(list(families))
        ending = _common_start([family[::-1] for family in families])[::-1]
        tokens = {}
        for family in families:
            token = family[len(common) : len(family) - len(ending) if ending else None].strip("-_*. ")
            tokens[token or family.strip("-_*. ") or "*"] = family
        option, flag = tree.options.label, "--label"
        what = "label the same images in several ways"
    if option is not None and (option.lstrip("0") or option) in tokens:
        return {tokens[option.lstrip("0") or option]: families[tokens[option.lstrip("0") or option]]}
    if option is not None and option in tokens:
        return {tokens[option]: families[tokens[option]]}
    shown = some([f"{members[0].name} ({token})" for token, family in tokens.items() if (members := families[family])])
    raise TenchError(
        f"{tree.root}: several sets of lists {what}: {shown}. Choose one, for example with {flag} {next(iter(tokens))}."
    )


def _common_start(names: Sequence[str]) -> str:
    return names[0][: next((at for at, signs in enumerate(zip(*names, strict=False)) if len(set(signs)) > 1), 0)]


def _one_of(tree: Tree, labelled: list[LabelFile]) -> list[LabelFile]:
    """The table that has the column given by --label. Raises TenchError if that does not choose one."""
    first = labelled[0]
    if tree.options.label is not None:
        having = [one for one in labelled if one.sheet is not None and one.sheet.column(tree.options.label) is not None]
        if len(having) == 1:
            return having
    names = some([source.name for source in labelled])
    raise TenchError(
        f"{tree.root}: {len(labelled)} files list images with labels: {names}. Name the one to use, or leave the "
        f"others out, for example with --exclude '{labelled[1].name}'. The first has "
        f"{'the columns ' + some(list(map(repr, first.sheet.columns)), 8) if first.sheet else 'one label per image'}."
    )


def _no_options(source: LabelFile) -> SourceOptions:
    """Options that select the label column that the roles of this file already have."""
    assert source.sheet is not None
    assert source.roles is not None
    label = None if source.roles.label is None else source.sheet.columns[source.roles.label]
    return SourceOptions(label=label)
