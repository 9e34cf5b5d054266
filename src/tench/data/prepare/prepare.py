"""Write a dataset in another layout: plan it, write it in parallel, verify the result.

The result (names, record order, shard boundaries and bytes) depends only on the dataset's content and the options. So
the command can be stopped at any time, and running it again continues. Image files keep their bytes unless images are
re-encoded; raw pixels (MNIST, CIFAR) become PNG. In shards, training images are ordered by a hash of their keys, for
readers that read sequentially; all other images are sorted by key. Each thread uses a few megabytes of memory, whatever
the size of the dataset.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tench.arguments import checked_arguments
from tench.data.files.names import PREPARED, is_unfinished
from tench.data.handled import Handled
from tench.data.prepare import staging as staged
from tench.data.prepare.planning import (
    DEFAULTS,
    SHARDS,
    LayoutName,
    Plan,
    PrepareOptions,
    existing,
    paths_of,
    plan,
    tree_of,
)
from tench.data.prepare.staging import Staging
from tench.data.prepare.verify import compare_files, compare_tables
from tench.data.prepare.writers import Content
from tench.data.prepare.writers.lists import READABLE
from tench.data.prepare.writers.recordio import RecordIO
from tench.data.prepare.writing import ShardFile, write_shards, write_tree
from tench.data.source import Source, open_source
from tench.data.table import is_fresh
from tench.errors import TenchError, counted, some
from tench.files import remove_parts, size_text, write_text
from tench.machine import num_threads


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The result of `prepare`.

    >>> done = tench.prepare("digits", "shards", options=tench.PrepareOptions(shards=(4, 1)))
    >>> done.dest.name, done.images, done.existed, list(done.bad)
    ('shards', {'train': 1438, 'val': 359}, False, [])
    """

    dest: Path
    """The folder, as an absolute path."""
    images: Mapping[str, int]
    """Images written, by split."""
    num_bytes: int
    """Bytes of all files that contain images."""
    bad: Sequence[Handled]
    """The bad images and what was done about each: split, row, key, file, reason, done (skipped or fixed)."""
    existed: bool = False
    """Whether the destination was already complete, so that nothing was written."""


@checked_arguments("to")
def prepare(
    source: Source,
    dest: str | Path,
    to: LayoutName = "webdataset",
    *,
    options: PrepareOptions | None = None,
    splits: Sequence[str] = (),
    val_fraction: float = 0.0,
    test_fraction: float = 0.0,
    threads: int = 0,
) -> Prepared:
    """Write a dataset in another layout into a folder, read it back and verify it.

    source: a path or name, several that form one dataset, or a `Dataset`. dest: a folder that is empty or missing, or
    that the same call has begun and now continues. to: the layout. options: how the images are stored. splits: which of
    train, val and test to write; empty means all. val_fraction, test_fraction: the fraction of each train class that
    becomes this split, always the same images. threads: 0 means one per core.

    The source is never changed. Raises UsageError for an option that the layout does not support, a destination that
    contains something else, or a name that the layout cannot store; TenchError if the disk is full, an image is bad,
    the source changes while it is read, or the result differs from the plan.

    >>> done = tench.prepare("digits", "records", "tfrecord", options=tench.PrepareOptions(shards=(2, 1)))
    >>> done.images
    {'train': 1438, 'val': 359}
    >>> tench.open_source("records").layout
    'tfrecord'
    """
    made = plan(
        open_source(source),
        dest,
        to,
        options or DEFAULTS,
        splits=splits,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        threads=threads,
    )
    return write(made, threads=threads)


def write(made: Plan, *, threads: int = 0, advance: Callable[[int], None] = lambda count: None) -> Prepared:
    """Carry out a plan, or the rest of it, and verify the result. advance: called with the number of images done.

    Raises TenchError if the disk is full, another process is writing there, an image is bad, the source has changed, or
    the result differs from the plan. Everything written so far is kept.
    """
    identity = made.identity()
    if (found := _prepared(made.dest, identity)) is not None:
        compare_files(made.dest, _files(made, without(made.content, found["bad_images"])), found["bytes"])
        return Prepared(made.dest, found["images"], found["bytes"], found["bad_images"], existed=True)
    # A run that stopped at a bad image may continue with --bad skip: every image before it was good.
    may_change = {"bad": "fail"} if made.options.encoding is not None else {}
    _require_room(made)
    with staged.staging(made.dest, identity, made.num_bytes, may_change, made.began_ns) as staging:
        content = _write(made, staging, num_threads(threads), advance)
        _refuse_changed(made, staging.began_ns)
        counts = {split: len(names) for split, names in content.names.items()}
        if gone := [split for split, count in counts.items() if not count]:
            raise TenchError(
                f"{made.dest}: all images of {gone[0]} are bad. Leave that split out (--splits) and write to another "
                "folder."
            )
        num_bytes = _check(made, content)
        result = {"images": counts, "bytes": num_bytes, "classes": content.classes.to_json(), "bad_images": staging.bad}
        _write_small(made.dest / PREPARED, json.dumps(identity | result, indent=1) + "\n")
        staging.remove()
    return Prepared(made.dest, counts, num_bytes, staging.bad)


def _write(made: Plan, staging: Staging, threads: int, advance: Callable[[int], None]) -> Content:
    """Write all images and the small files that go with them. Returns the content without the images that were left
    out."""
    if made.is_tree:
        paths = paths_of(made.tree, made.content)
        write_tree(paths, made.images, made.options.link_used, staging, threads, advance)
        content = without(made.content, staging.bad)
        tree = tree_of(made.to, made.options, content)
        for folder in tree.folders():
            (made.dest / folder).mkdir(parents=True, exist_ok=True)
        beside = dict(tree.files_beside())
    else:
        shards = SHARDS[made.to](made.content)
        files = made.files(shards)
        write_shards(files, made.images, shards, staging, threads, advance)
        content = without(made.content, staging.bad)
        _refuse_empty_shards(files, staging.bad)
        beside = dict(shards.files_beside())
        if isinstance(shards, RecordIO):
            for file in files:
                beside |= shards.index_of(made.dest, file.name, file.split)
    for name, text in beside.items():
        _write_small(made.dest / name, text)
    return content


def _write_small(path: Path, text: str) -> None:
    """Write a text file, and remove the unfinished copies that killed processes have left."""
    remove_parts(path.parent, {path.name})
    write_text(path, text)


def _check(made: Plan, content: Content) -> int:
    """Compare the destination with the plan; return its size in bytes. Raises TenchError if they differ."""
    num_bytes = compare_files(made.dest, _files(made, content))
    if made.to != "list" or made.options.style_used in READABLE:
        compare_tables(made.dest, made.to, content)
    return num_bytes


def _files(made: Plan, content: Content) -> list[str]:
    """All files that contain images."""
    if made.is_tree:
        return [path for paths in paths_of(tree_of(made.to, made.options, content), content).values() for path in paths]
    shards = SHARDS[made.to](made.content)
    return [shards.file_name(split, number) for split, count in made.content.shards.items() for number in range(count)]


def without(content: Content, bad: Sequence[Handled]) -> Content:
    """The content without the images that were skipped as bad."""
    skipped = _skipped(bad)
    if not skipped:
        return content

    def kept(values: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        return {
            split: [value for row, value in enumerate(of) if (split, row) not in skipped]
            for split, of in values.items()
        }

    return dataclasses.replace(
        content, names=kept(content.names), labels=kept(content.labels), several=kept(content.several)
    )


def _skipped(bad: Sequence[Handled]) -> set[tuple[str, int]]:
    """(split, row) of the skipped images."""
    return {(one["split"], one["row"]) for one in bad if one["done"] == "skipped"}


def _refuse_empty_shards(files: Sequence[ShardFile], bad: Sequence[Handled]) -> None:
    """Raise TenchError for shards whose images were all skipped: readers consider an empty shard damaged."""
    skipped = _skipped(bad)
    empty = [file.name for file in files if all((file.split, row) in skipped for row in file.rows.tolist())]
    if empty:
        raise TenchError(
            f"{counted(len(empty), 'file')} would be empty because all their images are bad: {some(empty)}. Write "
            "fewer --shards, or leave the split out (--splits), and write to another folder."
        )


def _require_room(made: Plan) -> None:
    """Raise TenchError if the disk has no room for the remaining data."""
    there = existing(made.dest)
    num_written = sum(file.stat().st_size for file in made.dest.rglob("*") if file.is_file()) if made.num_bytes else 0
    needed, free = made.num_bytes - num_written, shutil.disk_usage(there).free
    if needed > free:
        raise TenchError(
            f"{made.dest}: about {size_text(needed)} is needed, but only {size_text(free)} is free. Free some space, "
            "store smaller images (--max-side 512), or choose a folder on a larger disk."
        )


def _refuse_changed(made: Plan, began_ns: int) -> None:
    """Raise TenchError if the source has changed since its table was built or preparing began."""
    changed = next((entry[0] for entry in made.dataset.stamp if not is_fresh((entry,))), None)
    for table in made.images.tables.values():
        if changed is None and table.file_per_row:
            changed = table.changed_since(began_ns)
    if changed is not None:
        raise TenchError(
            f"{changed} changed while it was being read, so {made.dest} may mix old and new content. "
            f"Remove {made.dest} and run the command again once the source has stopped changing."
        )


def _prepared(dest: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of prepared.json; None if it does not exist. Raises UsageError if it belongs to another plan."""
    path = dest / PREPARED
    if not path.exists() or is_unfinished(dest):
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TenchError(f"{path} is not JSON ({error}). Remove {dest}, or choose another folder.") from error
    if "exif" in identity:
        found.setdefault("exif", "ignore")  # the only behaviour in older versions
    staged.same_plan(found, found | dict(identity), dest)
    return found
