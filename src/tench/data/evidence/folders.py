"""The folders of a source and the number of images in each: the evidence about classes.

One pass over the names of a tree. Nothing is opened.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from tench.data.files.names import EXTENSIONS
from tench.data.files.tree import Tree
from tench.data.splits import split_of
from tench.errors import counted
from tench.printable import printable

OUTLINE_LINES = 15
_SHAPES = ((4, 4), (3, 4), (3, 3), (2, 4), (2, 3), (1, OUTLINE_LINES - 2))
"""Depth and entries per folder of an outline, tried in this order until it fits into OUTLINE_LINES."""


@dataclasses.dataclass(slots=True, eq=False)
class Folder:
    """A folder of a tree. path: from the tree's root, "" for the root itself.

    images, others: positions in the tree of the files directly in it, by suffix. num_images, num_others: counts of
    these and of all files below."""

    path: str
    above: "Folder | None" = None
    children: dict[str, "Folder"] = dataclasses.field(default_factory=dict)
    images: list[int] = dataclasses.field(default_factory=list)
    others: list[int] = dataclasses.field(default_factory=list)
    num_images: int = 0
    num_others: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def filled(self) -> list["Folder"]:
        """The folders directly in it that contain images at any depth, sorted by name."""
        return [child for child in self.children.values() if child.num_images]

    def walk(self) -> Iterator["Folder"]:
        """This folder and all below it, each before its subfolders, in the order of names."""
        todo = [self]
        while todo:
            folder = todo.pop()
            yield folder
            todo += reversed(folder.children.values())

    def positions(self) -> list[int]:
        """The positions of all images in it, at any depth."""
        return [position for folder in self.walk() for position in folder.images]

    def first_image(self) -> int:
        """The position of one image in it, at any depth."""
        folder = self
        while not folder.images:
            folder = next(child for child in folder.children.values() if child.num_images)
        return folder.images[0]

    def remove(self, name: str) -> None:
        """Remove a child and subtract its counts from this folder and those above."""
        gone = self.children.pop(name)
        folder: Folder | None = self
        while folder is not None:
            folder.num_images -= gone.num_images
            folder.num_others -= gone.num_others
            folder = folder.above


class _IsImage(dict[str, bool]):
    """Whether a suffix is an image's, computed once for each spelling."""

    def __missing__(self, suffix: str) -> bool:
        self[suffix] = suffix.lower() in EXTENSIONS
        return self[suffix]


def folders_of(tree: Tree) -> Folder:
    """The root of the tree's folders."""
    root = Folder("")
    by_path = {"": root}
    for path in tree.folders:  # sorted: a folder comes after the one above it
        above = by_path[path.rpartition("/")[0]]
        by_path[path] = above.children[path.rpartition("/")[2]] = Folder(path, above)
    is_image = _IsImage()
    current, images, others = "", root.images, root.others
    for position, name in enumerate(tree.names):
        cut = name.rfind("/")
        path = name[:cut] if cut > 0 else ""
        if path != current:
            current, images, others = path, by_path[path].images, by_path[path].others
        dot = name.rfind(".", cut + 1)
        (images if dot > cut and is_image[name[dot:]] else others).append(position)
    for folder in reversed(by_path.values()):
        folder.num_images += len(folder.images)
        folder.num_others += len(folder.others)
        if folder.above is not None:
            folder.above.num_images += folder.num_images
            folder.above.num_others += folder.num_others
    return root


def wrappers(tree: Tree) -> list[str]:
    """The root ("") and the folders below it that have no folder next to them and name no split."""
    found = [""]
    while len(inner := tree.children(found[-1])) == 1 and split_of(inner[0]) is None:
        found.append(f"{found[-1]}/{inner[0]}".lstrip("/"))
    return found


def outermost(tree: Tree) -> list[tuple[str, str]]:
    """The wrappers around a set and the folders in the innermost wrapper, as (path, name)."""
    paths = wrappers(tree)
    paths += [f"{paths[-1]}/{name}".lstrip("/") for name in tree.children(paths[-1])]
    return [(path, path.rpartition("/")[2] if path else tree.root.name) for path in paths]


def outline_of(root: Folder, names: Sequence[str]) -> tuple[str, ...]:
    """The folders as lines for a person, with counts: at most OUTLINE_LINES of them.

    names: of the tree's files, for an example in each folder.
    """
    for depth, width in _SHAPES:
        lines = _lines(root, names, depth, width, "")
        if len(lines) <= OUTLINE_LINES:
            break
    return tuple(lines)


def _lines(folder: Folder, names: Sequence[str], depth: int, width: int, indent: str) -> list[str]:
    lines = []
    children = list(folder.children.values())
    shown = children if len(children) <= width else children[: width - 1]
    for child in shown:
        lines.append(f"{indent}{printable(child.name)}/  {summary(child, names)}")
        if depth > 1:
            lines += _lines(child, names, depth - 1, width, f"{indent}  ")
    if rest := children[len(shown) :]:
        num_images = sum(child.num_images for child in rest)
        lines.append(f"{indent}... {counted(len(rest), 'more folder')} with {counted(num_images, 'image')}")
    if not indent and (folder.images or folder.others):
        files = [names[position] for position in sorted(folder.images + folder.others)]
        more = f", ... {len(files) - 3:,} more" if len(files) > 3 else ""
        lines.append(f"{', '.join(map(printable, files[:3]))}{more}")
    return lines


def summary(folder: Folder, names: Sequence[str]) -> str:
    """The contents of a folder in a few words: "3 folders, 18 images, 2 other files: 0.jpg"."""
    parts = []
    if folder.children:
        parts.append(counted(len(folder.children), "folder"))
    if folder.num_images or not folder.num_others:
        parts.append(counted(folder.num_images, "image"))
    if folder.num_others:
        parts.append(counted(folder.num_others, "other file"))
    example = ""
    if folder.images:
        example = names[folder.images[0]]
    elif folder.others and not folder.children:
        example = names[folder.others[0]]
    return ", ".join(parts) + (f": {printable(example.rpartition('/')[2])}" if example else "")
