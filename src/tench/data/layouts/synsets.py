"""ImageNet-21K and other sets of class archives: `n########.tar`, one per class, with images directly inside.

They are in one folder, or in a published tar (fall11_whole.tar; winter21_whole.tar has them in a folder of its name),
or in a folder that contains that tar. Nothing is unpacked. The only split is train: the set has no other, and its
21,841 classes differ so much in size that `--min-images` and `--val-per-class` are needed. Class archives arranged as
in ILSVRC2012 are left to `ilsvrc`, which reads the other parts of that set too.
"""

import re

import numpy as np

from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree, names_unreadable_files
from tench.data.formats.wordnet import WNID, names_of
from tench.data.keys import keys_of
from tench.data.layouts import ilsvrc
from tench.data.layouts.webdataset import ARCHIVES
from tench.data.table import Classes, Contents
from tench.errors import TenchError, counted, some

NAME = "synsets"
OPTIONS = frozenset[str]()

_KNOWN = {
    21_841: ("ImageNet-21K as released in fall 2011 (fall11_whole.tar)", 14_197_122),
    19_167: ("ImageNet-21K as released in winter 2021 (winter21_whole.tar.gz), which has no classes of persons", None),
    1_000: ("the training images of ILSVRC2012", 1_281_167),
}
"""By the number of classes: the set, and its number of images if that is known exactly."""

_CLASS = re.compile(rf"(?:.*/)?({WNID.pattern})\.tar", re.ASCII)
_FIRST_MEMBERS = 3
"""Members to examine in a tar that may contain class archives; the first may be a folder."""


def recognise(tree: Tree) -> bool:
    """Whether the tree contains class archives, or a tar that begins with some, other than those of ILSVRC2012."""
    try:
        return bool(_class_archives(tree) or _whole_archives(tree)) and not ilsvrc.recognise(tree)
    except (TenchError, OSError):
        return False


@names_unreadable_files
def read(tree: Tree) -> Contents:
    """The images of all class archives. Raises TenchError if it is unclear which to use, or if one is damaged."""
    root, archives = tree.root, _class_archives(tree)
    if not archives:
        whole = _whole_archives(tree)
        if len(whole) > 1:
            raise TenchError(
                f"{root} contains {len(whole)} sets of class archives: {', '.join(whole)}. Pass one of them."
            )
        tree = tree.opened(whole)
        archives = _class_archives(tree)
    folders = sorted({name.rpartition("/")[0] for name in archives})
    if len(folders) > 1:
        raise TenchError(
            f"{root}: class archives (n########.tar) are in {len(folders)} folders: {folders[0] or '.'}, {folders[1]}"
            f"{', ...' if len(folders) > 2 else ''}. Pass the folder of one set."
        )
    others = sorted(set(tree.names) - set(archives))
    if images := [name for name in others if is_image_name(name)]:
        raise TenchError(
            f"{root} contains {counted(len(images), 'image')} next to its {len(archives):,} class archives, such as "
            f"{images[0]}. They would be counted twice or not at all. Unpack all archives or none, and move the images "
            "away from the archives."
        )
    if len(archives) < 2:
        raise TenchError(f"{root} contains only one class, {archives[0]}. A classifier needs at least two.")
    archive_of = {name.rpartition("/")[2][:-4]: name for name in archives}
    tree = tree.opened(archives)

    ids = sorted(archive_of)
    notes: list[str] = []
    positions: list[int] = []
    counts: list[int] = []
    num_foreign = num_others = 0
    for class_id in ids:
        span = tree.span(archive_of[class_id])
        found = [position for position in span if is_image_name(tree.names[position])]
        for position in found:
            name = tree.names[position]
            num_foreign += not name.startswith(f"{class_id}_", name.rfind("/") + 1)
        positions += found
        counts.append(len(found))
        num_others += len(span) - len(found)
    if not positions:
        raise TenchError(f"{root}: the {len(ids):,} class archives contain no images. Download them again.")
    notes.append(_which_set(len(ids), len(positions)))
    if empty := [class_id for class_id, count in zip(ids, counts, strict=True) if not count]:
        notes.append(f"There are no images of {counted(len(empty), 'class')}: {some(empty)}.")
    if num_foreign:
        notes.append(
            f"{counted(num_foreign, 'image')} not named after the archive; the class is still that of the archive."
        )
    if num_others:
        notes.append(f"Left out {counted(num_others, 'member')} without an image suffix.")
    if others:
        notes.append(f"Left out files that are not class archives: {some(others)}.")
    labels = np.repeat(np.arange(len(ids), dtype=np.int32), counts)
    of_class = [class_id for class_id, count in zip(ids, counts, strict=True) for _ in range(count)]
    keys = keys_of([tree.names[position] for position in positions], of_class)
    rows = tree.rows(positions, labels, keys)
    return Contents(Classes.of(ids, names_of(ids)), {"train": rows}, stamp=list(tree.stamp), notes=notes)


def _class_archives(tree: Tree) -> list[str]:
    return [name for name in tree.others if name.endswith(".tar") and _CLASS.fullmatch(name)]


def _whole_archives(tree: Tree) -> list[str]:
    """The tars of the tree that begin with class archives."""
    return [name for name in tree.others if name.endswith(ARCHIVES) and _begins_with_classes(tree, name)]


def _begins_with_classes(tree: Tree, archive: str) -> bool:
    with tree.beginning(archive, _FIRST_MEMBERS) as (members, _):
        return any(_CLASS.fullmatch(member) for member, _, _ in members)


def _which_set(num_classes: int, num_images: int) -> str:
    found = f"{counted(num_classes, 'class')}, {counted(num_images, 'image')}"
    if num_classes not in _KNOWN:
        return f"{found}: an unknown set; ImageNet-21K has 21,841 classes (fall 2011) or 19,167 (2021)."
    what, issued = _KNOWN[num_classes]
    if issued in (None, num_images):
        return f"{found}: this is {what}."
    return f"{found}: by the number of classes this is {what}, but that has {issued:,} images."
