"""Files of a tree as files on disk, for readers that need a path: copied once if necessary."""

import logging
import shutil
from pathlib import Path

from tench.data.files.compressed import form_of, spool_compressed
from tench.data.files.tree import Tree
from tench.files import complete_file, require_space

_log = logging.getLogger("tench")


def spool_path(tree: Tree, name: str, suffix: str) -> Path:
    """The path in the spool for data copied from a file of the tree; different files have different paths.

    name: of the file, possibly with the name of a part of it: set.h5/images.
    """
    return tree.record_copy(tree.spool.absolute() / f"{name.replace('/', '%')}{suffix}", name)


def on_disk(tree: Tree, name: str) -> Path:
    """A path to the file's decompressed bytes: the file itself if possible, else a copy in the spool."""
    position = tree.index(name)
    path = tree.path(position)
    with tree.open(name) as file:
        form = form_of(file.read(6))
        if form is None and path is not None:
            return path
        target = spool_path(tree, name, ".copy")
        if form is not None:
            spool_compressed(file, tree.place(name), target)
        else:
            num_bytes = int(tree.length[position])
            require_space(target, num_bytes, tree.place(name))
            _log.info("%s: copying %.1f MB once to %s.", tree.place(name), num_bytes / 1e6, target)
            file.seek(0)
            with complete_file(target) as part, part.open("wb") as sink:
                shutil.copyfileobj(file, sink)
    tree.stamp[str(target)] = None
    return target
