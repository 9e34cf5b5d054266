"""`tench info`: describe a source, or a file of weights."""

import dataclasses
import json
from typing import Annotated, Any, ClassVar

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """Describe a dataset or weights.

    Of a dataset: layout, splits, counts, classes, image sizes, and what was left out. Of weights: the program that
    wrote them, the network, and the commands that can use them.

    Examples:

        tench info ~/tiny-imagenet-200
        tench info resnet50.h5
        tench info ~/flowers --preview flowers.png --recipe mine.yaml
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "Source": "source with label exclude boxes",
        "Output": "json preview recipe",
    }

    source: Annotated[str, Flag(metavar="SOURCE", positional=True)]
    """The dataset: a path, digits or synthetic. A path is a folder, an archive, a file, or a pattern such as
    'train-{0000..0127}.tar'. Or weights: a run, or a file or folder that tench weights reads."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """Another source to merge with SOURCE. Classes are matched by id. May be given several times."""
    reading: SourceOptions = NO_OPTIONS
    boxes: bool = False
    """Also read the bounding boxes."""
    preview: Annotated[str | None, Flag(metavar="FILE.png")] = None
    """Save a picture of some training images: whole, as seen in six epochs of training, and as seen in evaluation."""
    recipe: Annotated[str | None, Flag(metavar="NAME")] = None
    """Recipe for the preview: a packaged recipe or a YAML file. By default the recipe digits for the source digits,
    else the default settings."""
    json: bool = False
    """Print one JSON object. Keys: layout, classes, splits (images, bytes), exif, fingerprint, notes, tree, examples,
    left_out; for weights: system, arch, candidates, num_tensors, num_parameters, layout, num_classes, classes,
    image_size, channels, eval_resize, squash, interpolation, mean, std, is_assumed, problem, commands."""


def run(arguments: list[str]) -> int:
    asked = parse(Info, arguments)
    from tench.data.info import brief_notes, describe
    from tench.data.source import open_source
    from tench.errors import UsageError, counted
    from tench.files import size_text, user_path
    from tench.weights.recognise import is_weights

    if asked.recipe and not asked.preview:
        raise UsageError("--recipe only applies to --preview. Add --preview FILE.png, or leave --recipe out.")
    if is_weights(user_path(asked.source)):
        return _describe_weights(asked)
    dataset = open_source((asked.source, *asked.with_), asked.reading, boxes=asked.boxes)
    if asked.preview:
        from tench.training.fit import default_recipe
        from tench.training.preview import write_preview
        from tench.training.recipe_file import load_recipe

        recipe = load_recipe(asked.recipe) if asked.recipe else default_recipe(None, asked.source)
        write_preview(asked.preview, dataset, recipe)
    facts = describe(dataset)
    if asked.json:
        print(json.dumps(facts))
        return 0
    print(f"{dataset.source}: {dataset.layout}, {counted(len(dataset.classes), 'class')}")
    for name, split in facts["splits"].items():
        number, noun = counted(split["images"], "image").split()
        print(f"  {name:<6} {number:>9} {noun:<6}  {size_text(split['bytes']):>10}  {_details(split)}")
    names = dict(zip(dataset.classes.ids, dataset.classes.names, strict=True))
    print("  classes:")
    for class_id, keys in facts["examples"].items():
        name = class_id if names[class_id] == class_id else f"{class_id} ({names[class_id]})"
        print(f"    {name}: {', '.join(keys) or 'no images'}")
    if len(names) > len(facts["examples"]):
        print(f"    ... {len(names) - len(facts['examples']):,} more")
    if dataset.outline:
        print("  found:")
    for line in dataset.outline:
        print(f"    {line}")
    if facts["exif"]["rotated"]:
        print(f"  {_orientation(facts['exif'])}")
    print(f"  fingerprint {dataset.fingerprint}")
    for note in brief_notes(dataset):
        print(f"  note: {note}")
    if asked.preview:
        print(f"  preview: {asked.preview}")
    return 0


def _describe_weights(asked: Info) -> int:
    from tench.errors import UsageError
    from tench.weights.describe import weights_info
    from tench.weights.known import short_numbers

    if asked.preview or asked.boxes or asked.with_ or asked.reading != NO_OPTIONS:
        raise UsageError(
            f"{asked.source} contains weights. For these, only --json applies; leave the other options out."
        )
    found = weights_info(asked.source)
    if asked.json:
        print(json.dumps(found.to_json()))
        return 0
    print(f"{found.path}: {found.system} weights")
    print(f"  network     {found.arch or 'not named in the file'}")
    if found.candidates:
        more = ", ..." if len(found.candidates) > _MAX_ARCHS else ""
        print(f"  may fit     {', '.join(found.candidates[:_MAX_ARCHS])}{more}")
        if len(found.candidates) > 1:
            print("              (they may compute differently: compare with tench weights --verify SOURCE)")
    print(f"  tensors     {found.num_tensors:,}, {found.num_parameters:,} parameters")
    if found.layout:
        print(f"  layout      {found.layout}")
    if found.image_size:
        unused = " (the fourth is always zero)" if found.channels == 4 else ""
        print(
            f"  images      {found.image_size} px, {found.channels} channel{'' if found.channels == 1 else 's'}{unused}"
        )
    if found.eval_resize and found.mean and found.std:
        how = "squashed" if found.squash else "resized"
        print(
            f"  {'assumed' if found.is_assumed else 'input':<11} {how} to {found.eval_resize} px, {found.interpolation}"
        )
        mean, std = short_numbers(found.mean), short_numbers(found.std)
        print(f"              mean {mean}, std {std}, of pixels from 0 to 1")
    if found.num_classes:
        named = found.classes is not None and not found.classes.numbered
        names = found.classes.names if found.classes is not None and named else ()
        shown = (
            f": {'; '.join(names[:_MAX_NAMES])}{'; ...' if len(names) > _MAX_NAMES else ''}" if named else ", numbered"
        )
        print(f"  classes     {found.num_classes:,}{shown}")
    if found.problem:
        print(f"  problem     {found.problem}")
    for label, use in zip(["use", *[""] * len(found.commands)], found.commands, strict=False):
        print(f"  {label:<11} {use}")
    return 0


_MAX_ARCHS, _MAX_NAMES = 8, 5
"""At most this many networks and class names are printed."""


def _orientation(found: dict[str, Any]) -> str:
    """How many images have an EXIF orientation, and what training does with it by default."""
    from tench.errors import counted

    applied = {"apply": "applies it", "ignore": "ignores it"}[found["auto"]]
    has = "has" if found["rotated"] == 1 else "have"
    return (
        f"EXIF orientation: {found['rotated']:,} of a sample of {counted(found['sampled'], 'image')} {has} one; "
        f"training {applied} unless --exif says otherwise"
    )


def _details(split: dict[str, Any]) -> str:
    """Images per class and image sizes of a split; one number if the smallest equals the largest."""
    per_class, sizes, unlabelled = split["images_per_class"], split["sizes"], split["unlabelled"]
    if unlabelled == split["images"]:
        parts = ["no labels"]
    else:
        parts = [f"{_range(per_class['min'], per_class['max'], '-')} per class"]
        parts += [f"{unlabelled:,} without a label"] if unlabelled else []
    return ", ".join(parts) + (f"  {_range(sizes['smallest'], sizes['largest'], ' to ')} pixels" if sizes else "")


def _range(least: object, most: object, between: str) -> str:
    first, last = (f"{one:,}" if isinstance(one, int) else str(one) for one in (least, most))
    return first if first == last else f"{first}{between}{last}"
