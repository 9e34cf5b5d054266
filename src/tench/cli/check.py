"""`tench check`: decode every image once and list the bad ones."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import tyro

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions

if TYPE_CHECKING:
    from tench.data.check.check import Report
    from tench.data.check.duplicates import Group
    from tench.data.table import Dataset

_MAX_GROUPS = 5
_MAX_IN_GROUP = 10
"""Groups of duplicates shown of each kind, and images shown of a group; --json lists all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Decode every image of a source once, and name what would stop a training or spoil it.

    The source is read again. Checksums of published files, record CRCs and the numbers of known sets are compared; bad
    images are named; unusual ones and duplicates are counted. The exit code is 1 if something would stop a training.
    The result is kept: later training on the same content reports it. Example:

        tench check ~/flowers
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Path of the dataset, or digits or synthetic."""
    with_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="with", metavar="SOURCE", help_behavior_hint="")
    ] = ()
    """One more source that makes one set with SOURCE, classes united by id; may be given several times."""
    reading: Annotated[SourceOptions, tyro.conf.UseAppendAction] = NO_OPTIONS
    near: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Look for near duplicates too: images that were re-encoded, resized or brightened."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads; 0: one for each core."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: images, known, checksums, damaged (file, reason), bad (split, key, file, reason,
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
    from tench.errors import counted

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
    damage = f", damaged records or members of its files: {len(report.damaged):,}" if report.damaged else ""
    unread = f", {len(report.unreadable):,} not read" if report.unreadable else ""
    again = " Unread files are checked again then." if report.unreadable else ""
    print(
        f"{dataset.source}: {counted(report.images, 'image')}, {len(report.bad):,} bad{unread}{damage}. "
        f"The result is kept: training on the same content reports it.{again}"
    )


def _show_groups(name: str, meaning: str, groups: "tuple[Group, ...]") -> None:
    from tench.errors import counted

    if not groups:
        return
    num_images = sum(len(group.images) for group in groups)
    print(f"{name}: {counted(num_images, 'image')} in {counted(len(groups), 'group')} of {meaning}")
    kinds = (
        ("across splits, so training images are also validated on", [one for one in groups if one.across_splits]),
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
