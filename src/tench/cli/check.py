"""`tench check`: decode every image once and list the bad ones."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, ClassVar

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.errors import counted
from tench.flags import Flag

if TYPE_CHECKING:
    from tench.data.check.check import Report
    from tench.data.check.duplicates import Group
    from tench.data.table import Dataset

_MAX_GROUPS = 5
_MAX_IN_GROUP = 10
"""Maximum number of groups printed per kind of duplicate, and of images printed per group; --json lists all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Decode every image of a source once, and list what would stop or spoil training.

    The cache is not used. Checksums of published files, record CRCs and the counts of known datasets are compared; bad
    images are listed; unusual images and duplicates are counted. The exit code is 1 if anything would stop training.
    The result is saved, and later training on the same content reports it. Example:

        tench check ~/flowers
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "Source": "source with label exclude",
        "Check": "near threads json",
    }

    source: Annotated[str, Flag(metavar="SOURCE", positional=True)]
    """The dataset: a path, digits or synthetic."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """Another source to merge with SOURCE. Classes are matched by id. May be given several times."""
    reading: SourceOptions = NO_OPTIONS
    near: bool = False
    """Also look for near duplicates: images that were re-encoded, resized or brightened."""
    threads: Annotated[int, Flag(aliases=("-j", "--workers"))] = 0
    """Number of threads; 0 is one per core."""
    json: bool = False
    """Print one JSON object. Keys: images, known, checksums, damaged (file, reason), bad (split, key, file, reason,
    fixable), unreadable (file, reason), odd (counts and examples), odd_images (split, key, file, kinds), duplicates,
    near_duplicates."""


def run(arguments: list[str]) -> int:
    asked = parse(Check, arguments)
    from tench.data.check.check_source import check_source
    from tench.data.source import open_source

    dataset = open_source((asked.source, *asked.with_), asked.reading, refresh=True)
    report = check_source(dataset, near=asked.near, threads=asked.threads)
    if asked.json:
        print(json.dumps(report.to_json()))
    else:
        _show(dataset, report)
    return 1 if report.stops_training else 0


def _show(dataset: "Dataset", report: "Report") -> None:
    from tench.data.check.check import ODD
    from tench.data.info import brief_notes

    for sentence in report.known:
        print(sentence)
    for note in brief_notes(dataset):
        print(f"note: {note}")
    for sentence in report.checksums:
        print(f"checksum: {sentence}")
    for damaged in report.damaged:
        print(f"damaged: {damaged.file}: {damaged.reason}")
    for bad in report.bad:
        print(f"bad: {bad.file}: {bad.reason} ({bad.split}, {bad.key})")
    for one in report.unreadable:
        print(f"not read: {one.reason} ({one.split}, {one.key})")
    for file in report.unreadable_files:
        print(f"not read: {file.file}: {file.reason}")
    for name, odd in report.odd.items():
        print(f"{name}: {odd.count:,} ({ODD[name]}), such as {', '.join(odd.examples)}")
    _show_groups("duplicates", "the same content", report.duplicates)
    _show_groups("near duplicates", "nearly the same content", report.near or ())
    damage = f", damaged records or members: {len(report.damaged):,}" if report.damaged else ""
    unread = f", {len(report.unreadable):,} not read" if report.unreadable else ""
    again = " Later training also rechecks the images that could not be read." if report.unreadable else ""
    print(
        f"{dataset.source}: {counted(report.images, 'image')}, {len(report.bad):,} bad{unread}{damage}. The result is "
        f"saved, and later training on the same content reports it.{again}"
    )
    if report.bad:
        print("Training stops at a bad image; --bad skip leaves such images out, --bad fix repairs them if possible.")


def _show_groups(name: str, meaning: str, groups: "tuple[Group, ...]") -> None:

    if not groups:
        return
    num_images = sum(len(group.images) for group in groups)
    print(f"{name}: {counted(num_images, 'image')} in {counted(len(groups), 'group')} with {meaning}")
    kinds = (
        ("across splits, so validation sees training images", [one for one in groups if one.across_splits]),
        ("with different labels", [one for one in groups if one.contradicts]),
        ("within one split and class", [one for one in groups if not one.across_splits and not one.contradicts]),
    )
    for kind, found in kinds:
        if found:
            print(f"  {len(found):,} {kind}:")
        for group in found[:_MAX_GROUPS]:
            images = [f"{image.split}/{image.key}" for image in group.images[:_MAX_IN_GROUP]]
            more = f" = ... ({len(group.images):,} in all)" if len(group.images) > _MAX_IN_GROUP else ""
            print(f"    {' = '.join(images)}{more}")
        if len(found) > _MAX_GROUPS:
            print("    ...")
