"""Small text files next to others: class lists, `.lst`, `.idx`, names.

They are looked up in the folders of the files and in the root of the tree. If the source is a single file or a pattern,
the tree contains nothing else, so they are also looked up on disk. Each file that is read is added to the stamp.
"""

import dataclasses
from collections.abc import Iterable

from tench.data.files.tree import Tree
from tench.errors import TenchError

_WHAT = "a list next to the data"
"""The name of such a file in messages."""


@dataclasses.dataclass(frozen=True)
class Beside:
    """A text file. where: its name for messages. name: in the tree, None if it was found on disk."""

    where: str
    text: str
    name: str | None


def files_beside(tree: Tree, files: Iterable[str], name: str, *, in_root: bool = True) -> list[Beside]:
    """The files called `name` in the folders of `files` and, unless in_root is False, in the root of the tree.

    Raises TenchError if one is too large.
    """
    folders = {file.rpartition("/")[0] for file in files} | ({""} if in_root else set())
    on_disk = tree.root if tree.root.is_dir() else tree.root.parent
    found = []
    for folder in sorted(folders):
        path = f"{folder}/{name}".lstrip("/")
        if path in tree:
            found.append(Beside(tree.place(path), tree.text(path, _WHAT), path))
        elif not tree.source.is_dir() and (there := on_disk / path).is_file():
            data = tree.limits.read_file(there, _WHAT, tree.limits.text_bytes)
            tree.stamp[str(there)] = None
            found.append(Beside(str(there), data.decode("utf-8-sig", "replace"), None))
    return found


def text_beside(tree: Tree, files: Iterable[str], *names: str) -> dict[str, str]:
    """The text of the files with these names, by place. Returns at most one entry.

    All must have the same content; empty files are ignored. Raises TenchError if two files differ.
    """
    listed = list(files)
    found = {one.where: one.text for name in names for one in files_beside(tree, listed, name) if one.text.strip()}
    if len(set(found.values())) > 1:
        raise TenchError(f"{' and '.join(found)} list the classes differently. Keep the right one.")
    return dict(list(found.items())[:1])
