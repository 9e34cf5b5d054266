"""A dataset into another layout: planned, written in parallel, checked.

What is written is a function of the dataset's content and the options alone: names, the order of records, the borders
between shards, and bytes. So it can be stopped at any moment, and the same command continues. Original bytes
stay untouched unless images are re-encoded; raw pixels (MNIST, CIFAR) become PNG.
In shards, training images lie in the order of a hash of their keys, which readers that read from front to back need;
all others in the order of keys. Bytes flow through a few megabytes a thread, whatever the size of the set.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tench.data.files.names import PREPARED, is_unfinished
from tench.data.handled import Handled
from tench.data.prepare import staging as staged
from tench.data.prepare.planning import SHARDS, Layout, Plan, PrepareOptions, existing, paths_of, plan, tree_of
from tench.data.prepare.staging import Staging
from tench.data.prepare.verify import compare_files, compare_tables
from tench.data.prepare.writers import Content
from tench.data.prepare.writers.lists import READABLE
from tench.data.prepare.writers.recordio import RecordIO
from tench.data.prepare.writing import ShardFile, write_shards, write_tree
from tench.data.source import Source, open_source
from tench.data.table import Dataset, is_fresh
from tench.errors import TenchError, counted, some
from tench.files import remove_parts, size_text, write_text
from tench.machine import num_threads


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What lies at the destination, and what was done about bad images. existed: it was complete before."""

    dest: Path
    images: Mapping[str, int]
    num_bytes: int
    bad: Sequence[Handled]
    existed: bool = False


def prepare(
    source: Source | Dataset,
    dest: str | Path,
    to: Layout = "webdataset",
    *,
    options: PrepareOptions | None = None,
    threads: int = 0,
) -> Prepared:
    """Write a dataset in another layout into the folder `dest`; the same call continues what was stopped.

    options: `to` counts only where they are not given. threads: 0 means one per core. Raises UsageError where the
    destination holds something else, or a name cannot be written; TenchError where there is no room, an image is bad
    or the source changes, or the result is not what was to be written.
    """
    dataset = source if isinstance(source, Dataset) else open_source(source)
    return write(plan(dataset, dest, options or PrepareOptions(to=to), threads=threads), threads=threads)


def write(made: Plan, *, threads: int = 0, advance: Callable[[int], None] = lambda count: None) -> Prepared:
    """Write what is planned, or what is left of it, and check it. advance: called with the number of images done.

    Raises TenchError where there is no room, another process is at it, an image is bad, the source has changed, or the
    result is not what was to be written; what is written is kept.
    """
    identity = made.identity()
    if (found := _prepared(made.dest, identity)) is not None:
        compare_files(made.dest, _files(made, without(made.content, found["bad_images"])), found["bytes"])
        return Prepared(made.dest, found["images"], found["bytes"], found["bad_images"], existed=True)
    may_change = {"bad": "fail"} if made.options.how is not None else {}  # until now no image was bad
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
    """Write all images and the small files beside them; returns what was written, without what was left out."""
    if made.is_tree:
        paths = paths_of(tree_of(made.options, made.content), made.content)
        write_tree(paths, made.images, made.options.link, staging, threads, advance)
        content = without(made.content, staging.bad)
        tree = tree_of(made.options, content)
        for folder in tree.folders():
            (made.dest / folder).mkdir(parents=True, exist_ok=True)
        beside = dict(tree.files_beside())
    else:
        shards = SHARDS[made.options.to](made.content)
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
    """Write a text file, and remove what a process that was killed while it wrote the same left beside it."""
    remove_parts(path.parent, {path.name})
    write_text(path, text)


def _check(made: Plan, content: Content) -> int:
    """Compare the destination with the plan and return its bytes. Raises TenchError if they differ."""
    num_bytes = compare_files(made.dest, _files(made, content))
    if made.options.to != "list" or made.options.style in READABLE:
        compare_tables(made.dest, made.options.to, content)
    return num_bytes


def _files(made: Plan, content: Content) -> list[str]:
    """All files that hold images."""
    if made.is_tree:
        return [path for paths in paths_of(tree_of(made.options, content), content).values() for path in paths]
    shards = SHARDS[made.options.to](made.content)
    return [shards.file_name(split, number) for split, count in made.content.shards.items() for number in range(count)]


def without(content: Content, bad: Sequence[Handled]) -> Content:
    """What is written when the images that are left out are left out."""
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
    """(split, row) of the images that are left out."""
    return {(one["split"], one["row"]) for one in bad if one["done"] == "skipped"}


def _refuse_empty_shards(files: Sequence[ShardFile], bad: Sequence[Handled]) -> None:
    """Raise TenchError for files of which every image was left out: readers take them for damaged."""
    skipped = _skipped(bad)
    empty = [file.name for file in files if all((file.split, row) in skipped for row in file.rows.tolist())]
    if empty:
        raise TenchError(
            f"{counted(len(empty), 'file')} would be empty, because all images for it are bad: {some(empty)}. "
            "Write fewer --shards, or leave the split out (--splits), and write to another folder."
        )


def _require_room(made: Plan) -> None:
    """Raise TenchError unless the disk has room for the rest."""
    there = existing(made.dest)
    num_written = sum(file.stat().st_size for file in made.dest.rglob("*") if file.is_file()) if made.num_bytes else 0
    needed, free = made.num_bytes - num_written, shutil.disk_usage(there).free
    if needed > free:
        raise TenchError(
            f"{made.dest}: about {size_text(needed)} are needed there, but only {size_text(free)} are free. Make room, "
            "store images smaller (--max-side 512), or name a folder on a larger disk."
        )


def _refuse_changed(made: Plan, began_ns: int) -> None:
    """Raise TenchError if the source has changed since its table was made, or since the first process began."""
    changed = next((entry[0] for entry in made.dataset.stamp if not is_fresh((entry,))), None)
    for table in made.images.tables.values():
        if changed is None and table.file_per_row:
            changed = table.changed_since(began_ns)
    if changed is not None:
        raise TenchError(
            f"{changed}: has changed while it was read, so {made.dest} may mix old and new content. "
            f"Remove {made.dest} and run the command again when the source is complete."
        )


def _prepared(dest: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of prepared.json, None if there is none. Raises UsageError if it belongs to something else."""
    path = dest / PREPARED
    if not path.exists() or is_unfinished(dest):
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TenchError(f"{path}: is not JSON ({error}). Remove {dest}, or name another folder.") from error
    if "exif" in identity:
        found.setdefault("exif", "ignore")  # as before there was a choice
    staged.same_plan(found, found | dict(identity), dest)
    return found
