"""`tench prepare`: a dataset in another layout."""

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tench.data.handled import Handled
    from tench.data.images.encode import Encoding
    from tench.data.prepare.planning import Plan

_SIZES = ("short_side", "max_side", "square")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepare:
    """Write a dataset in another layout: original bytes, or images made smaller.

    First the plan is shown, then all is written, then what was written is read back and compared. Killed at any moment,
    the same command continues, and the result is the same. The source is never changed. Examples:

        tench prepare ~/imagenet ~/shards                                 shards of WebDataset, bytes untouched
        tench prepare ~/imagenet ~/small --max-side 512 --quality 90
        tench prepare ~/imagenet ~/records --to tfrecord --shards 1024 128
        tench prepare ~/imagenet ~/folders --to folder                    hard links where images are files
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Path of the dataset, or digits or synthetic."""
    dest: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DEST")]
    """Folder to write; it must be empty, missing, or what this command began."""
    to: Literal["webdataset", "folder", "list", "tfrecord", "recordio"] = "webdataset"
    """Layout to write."""
    with_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="with", metavar="SOURCE", help_behavior_hint="")
    ] = ()
    """One more source that makes one set with SOURCE, classes united by id; may be given several times."""
    splits: tuple[str, ...] = ()
    """Which of train, val and test; none: all there are."""
    reading: Annotated[SourceOptions, tyro.conf.UseAppendAction] = NO_OPTIONS
    val_fraction: float = 0.0
    """Make a split val of this part of each class of train."""
    test_fraction: float = 0.0
    """Make a split test of this part of each class of train."""
    boxes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read the boxes of the objects too, and write them (tfrecord, webdataset)."""
    short_side: int = 0
    """Re-encode images, shrinking the shorter side to at most this many pixels."""
    max_side: int = 0
    """Re-encode images, shrinking the longer side to at most this many pixels."""
    square: int = 0
    """Re-encode images: the centred square, resized to this many pixels."""
    enlarge: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --short-side: enlarge smaller images too."""
    format: Literal["jpeg", "png", "webp", "pixels"] | None = None
    """Re-encode images in this format; pixels are PPM. None: jpeg if images are re-encoded, else unchanged."""
    quality: int | None = None
    """Re-encode images with this JPEG or WebP quality, 1 to 100. None: 90 if they are re-encoded."""
    grey: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Re-encode images in grey."""
    exif: Literal["auto", "apply", "ignore"] = "auto"
    """EXIF orientation of re-encoded images: apply turns them upright, ignore drops it. auto: as in training, apply
    except for published sets. Images that are not re-encoded keep it."""
    interpolation: Literal["area", "bilinear"] | None = None
    """Filter for a new size: area (the default) is antialiased; bilinear uses the nearest four pixels, like im2rec."""
    addressable: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Add restart markers to JPEGs without loss (jpegtran), so that training decodes only the part of an image it uses.
    (Re-encoded JPEGs have them anyway.)"""
    shards: tuple[int, ...] = ()
    """Number of files: of train, then of each other split. None: by --shard-size."""
    shard_size: float | None = None
    """Approximate size of a file in megabytes (10^6 bytes). None: 256; of recordio one file each."""
    shuffle: bool = True
    """Order of training images in shards: by a hash of their names, else by their names."""
    link: Literal["hard", "symbolic", "copy"] | None = None
    """For --to folder and list: how to place images that are files already and keep their bytes. hard (the default): a
    hard link, or a copy if on another disk."""
    style: Literal["plain", "caffe", "nnabla", "mxnet", "apm5", "tensorflow", "kaggle"] | None = None
    """For --to list: the program that will read it. None: plain."""
    bad: Literal["fail", "skip", "fix"] = "fail"
    """Images that do not decode: stop; leave them out; decode JPEGs as far as they go (and leave out the rest). With
    fail, images that stay as they are are not decoded: tench check does that."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads; 0: one for each core."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only show the plan."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: the plan, or what was written (images, bytes, bad)."""


def run(arguments: list[str]) -> int:
    asked = parse(Prepare, arguments)
    from tench.data.prepare.planning import PrepareOptions, plan
    from tench.data.prepare.prepare import write
    from tench.data.prepare.staging import num_done
    from tench.data.source import open_source
    from tench.files import size_text
    from tench.progress import progress

    options = PrepareOptions(
        encoding=_encoding(asked),
        addressable=asked.addressable,
        shards=asked.shards or None,
        shard_bytes=None if asked.shard_size is None else _shard_bytes(asked.shard_size),
        shuffle=asked.shuffle,
        link=asked.link,
        style=asked.style,
        bad=asked.bad,
        exif=asked.exif,
    )
    dataset = open_source((asked.source, *asked.with_), asked.reading, boxes=asked.boxes)
    made = plan(
        dataset,
        asked.dest,
        asked.to,
        options,
        splits=asked.splits,
        val_fraction=asked.val_fraction,
        test_fraction=asked.test_fraction,
        threads=asked.threads,
    )
    if not asked.json:
        _show(made)
    if asked.dry_run:
        if asked.json:
            print(json.dumps(made.to_json()))
        return 0
    with progress("prepare", made.num_images, "images", done=num_done(made.dest)) as advance:
        done = write(made, threads=asked.threads, advance=lambda count: advance(count, ""))
    if asked.json:
        result = {"dest": str(done.dest), "images": done.images, "bytes": done.num_bytes, "bad": list(done.bad)}
        print(json.dumps(result))
        return 0
    for bad in done.bad:
        print(f"{bad['done']}: {bad['file']}: {bad['reason']} ({bad['split']}, {bad['key']})")
    counts = _counts(done.images)
    if done.existed:
        print(f"{done.dest}: is already complete: {counts}.")
    else:
        print(f"{done.dest}: {counts}, {size_text(done.num_bytes)}; read back and verified{_handled(done.bad)}.")
    return 0


def _counts(images: "Mapping[str, int]") -> str:
    """The number of images by split: "train 18, val 6 images"."""
    from tench.errors import counted

    *others, last = images.items()
    return ", ".join([*(f"{split} {count:,}" for split, count in others), f"{last[0]} {counted(last[1], 'image')}"])


def _handled(bad: "Sequence[Handled]") -> str:
    """What was done about bad images: ", 2 bad images left out, 1 bad image fixed"; "" if there were none."""
    from tench.errors import counted

    num_skipped = sum(one["done"] == "skipped" for one in bad)
    numbers = ((num_skipped, "left out"), (len(bad) - num_skipped, "fixed"))
    return "".join(f", {counted(number, 'bad image')} {done}" for number, done in numbers if number)


def _shard_bytes(megabytes: float) -> int:
    from tench.errors import UsageError

    if not math.isfinite(megabytes):
        raise UsageError(f"--shard-size {megabytes}: expected a number of megabytes.")
    return int(megabytes * 1e6)


def _encoding(asked: Prepare) -> "Encoding | None":
    """How images are re-encoded; None if no option requires it."""
    from tench.data.images.encode import Encoding

    sizes = asked.short_side or asked.max_side or asked.square or asked.enlarge or asked.interpolation
    if not (sizes or asked.format or asked.quality is not None or asked.grey):
        return None
    return Encoding(
        format=asked.format or "jpeg",
        quality=asked.quality,
        short_side=asked.short_side,
        max_side=asked.max_side,
        square=asked.square,
        enlarge=asked.enlarge,
        grey=asked.grey,
        interpolation=asked.interpolation,
    )


def _show(made: "Plan") -> None:
    from tench.errors import counted
    from tench.files import size_text

    counts = _counts({split: len(table) for split, table in made.images.tables.items()})
    classes = counted(len(made.dataset.classes), "class")
    print(f"{made.dataset.source} ({made.dataset.layout}, {classes}) -> {made.dest}")
    print(f"  {made.to}: {counts} in {counted(made.num_files, 'file')}, {_encoded(made)}")
    if made.num_linked:
        become = "is a file already and becomes a" if made.num_linked == 1 else "are files already and become"
        links = f"{made.options.link_used} link{'' if made.num_linked == 1 else 's'}"
        print(f"  {made.num_linked:,} of them {become} {links}")
    print(
        f"  about {size_text(made.num_bytes)} are needed, {size_text(made.free_bytes)} are free; "
        f"about {_duration(made.seconds)}"
    )
    for note in made.notes:
        print(f"  note: {note}")


def _encoded(made: "Plan") -> str:
    how = made.options.encoding
    if how is None:
        return "JPEGs rewritten without loss" if made.options.addressable else "bytes untouched"
    size = next((f", {name.replace('_', ' ')} {getattr(how, name)}" for name in _SIZES if getattr(how, name)), "")
    quality = f", quality {how.quality}" if how.format in ("jpeg", "webp") else ""
    return f"re-encoded as {how.format}{size}{quality}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
