"""`tench prepare`: write a dataset in another layout."""

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.errors import counted
from tench.flags import Flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tench.data.handled import Handled
    from tench.data.images.encode import Encoding
    from tench.data.prepare.planning import Plan

_SIZES = ("short_side", "max_side", "square")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepare:
    """Write a dataset in another layout, with the original image bytes or with smaller images.

    Prints the plan, writes everything, then reads it back and compares it. If the command is killed, run it again: it
    continues, and the result is the same. The source is never changed. Examples:

        tench prepare ~/imagenet ~/shards                                 WebDataset shards, original bytes
        tench prepare ~/imagenet ~/small --max-side 512 --quality 90
        tench prepare ~/imagenet ~/records --to tfrecord --shards 1024 128
        tench prepare ~/imagenet ~/folders --to folder                    hard links if images are files
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to write": "source dest to splits val-fraction | with test-fraction style link boxes",
        "Re-encoding": "short-side max-side quality | square enlarge format grey interpolation addressable",
        "Files": "shards | shard-size shuffle",
        "Work": "threads dry-run bad | json",
    }

    source: Annotated[str, Flag(metavar="SOURCE", positional=True)]
    """The dataset: a path, digits or synthetic."""
    dest: Annotated[str, Flag(metavar="DEST", positional=True)]
    """Folder to write. It must be empty, missing, or begun by this command."""
    to: Literal["webdataset", "folder", "list", "tfrecord", "recordio"] = "webdataset"
    """Layout to write."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """Another source to merge with SOURCE. Classes are matched by id. May be given several times."""
    splits: tuple[str, ...] = ()
    """Splits to write: train, val, test. By default all."""
    reading: SourceOptions = NO_OPTIONS
    val_fraction: float = 0.0
    """Fraction of each training class to hold out as val."""
    test_fraction: float = 0.0
    """Fraction of each training class to hold out as test."""
    boxes: bool = False
    """Also write the bounding boxes (tfrecord, webdataset)."""
    short_side: int = 0
    """Re-encode, shrinking the shorter side to N pixels."""
    max_side: int = 0
    """Re-encode, shrinking the longer side to N pixels."""
    square: int = 0
    """Re-encode the central square, resized to N pixels."""
    enlarge: bool = False
    """With --short-side, enlarge smaller images too."""
    format: Literal["jpeg", "png", "webp", "pixels"] | None = None
    """Re-encode in this format. pixels are raw pixels (PPM). By default jpeg if images are re-encoded, else
    unchanged."""
    quality: int | None = None
    """Re-encode with this JPEG or WebP quality, 1 to 100. By default 90 if images are re-encoded."""
    grey: bool = False
    """Re-encode in grey."""
    exif: Literal["auto", "apply", "ignore"] = "auto"
    """EXIF orientation of re-encoded images. apply turns them upright; ignore drops the orientation; auto is apply,
    except for published sets, as in training. Images that are not re-encoded keep their orientation."""
    interpolation: Literal["area", "bilinear"] | None = None
    """Resize filter, by default area. area is antialiased; bilinear uses the nearest four pixels, as im2rec does."""
    addressable: bool = False
    """Add restart markers to JPEGs, losslessly, so that training decodes only the part of an image it uses. Needs
    jpegtran. Re-encoded JPEGs always have the markers."""
    shards: tuple[int, ...] = ()
    """Number of files for train, and for each other split. By default determined by --shard-size."""
    shard_size: float | None = None
    """Approximate size of a file in megabytes (10^6 bytes). By default 256; recordio has one file per split."""
    shuffle: bool = True
    """Order training images in shards by a hash of their names instead of by name."""
    link: Literal["hard", "symbolic", "copy"] | None = None
    """How --to folder and list place unchanged image files, by default hard links. hard copies the files if DEST is on
    another disk."""
    style: Literal["plain", "caffe", "nnabla", "mxnet", "apm5", "tensorflow", "kaggle"] | None = None
    """With --to list, the program that will read the lists. By default plain."""
    bad: Literal["fail", "skip", "fix"] = "fail"
    """What to do with images that do not decode. fail stops; skip leaves them out; fix decodes JPEGs as far as possible
    and leaves out the rest. fail does not decode images whose bytes stay unchanged; tench check does."""
    threads: Annotated[int, Flag(aliases=("-j", "--workers"))] = 0
    """Number of threads; 0 is one per core."""
    dry_run: bool = False
    """Print the plan and exit."""
    json: bool = False
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
        print(f"{done.dest} is already complete: {counts}.")
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
        raise UsageError(f"--shard-size must be a finite number of megabytes, got {megabytes}.")
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
    from tench.files import size_text

    counts = _counts({split: len(table) for split, table in made.images.tables.items()})
    classes = counted(len(made.dataset.classes), "class")
    print(f"{made.dataset.source} ({made.dataset.layout}, {classes}) -> {made.dest}")
    print(f"  {made.to}: {counts} in {counted(made.num_files, 'file')}, {_encoded(made)}")
    if made.num_linked:
        print(f"  {counted(made.num_linked, 'existing image file')} linked ({made.options.link_used})")
    print(f"  needs about {size_text(made.num_bytes)} and {_duration(made.seconds)}; {size_text(made.free_bytes)} free")
    for note in made.notes:
        print(f"  note: {note}")


def _encoded(made: "Plan") -> str:
    how = made.options.encoding
    if how is None:
        return "JPEGs rewritten losslessly" if made.options.addressable else "original bytes"
    size = next((f", {name.replace('_', ' ')} {getattr(how, name)}" for name in _SIZES if getattr(how, name)), "")
    quality = f", quality {how.quality}" if how.format in ("jpeg", "webp") else ""
    return f"re-encoded as {how.format}{size}{quality}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
