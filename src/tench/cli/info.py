"""`tench info`: describe a source."""

import dataclasses
import json
from typing import Annotated, Any

import tyro

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """Tell what a source is: layout, splits, counts, classes, image sizes, and what was left out.

    Examples:

        tench info ~/tiny-imagenet-200
        tench info ~/flowers --preview flowers.png --recipe mine.yaml
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Path of the dataset (a folder, an archive, a file, a pattern such as 'train-{0000..0127}.tar'), or digits or
    synthetic."""
    with_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="with", metavar="SOURCE", help_behavior_hint="")
    ] = ()
    """One more source that makes one set with SOURCE, classes united by id; may be given several times."""
    reading: Annotated[SourceOptions, tyro.conf.UseAppendAction] = NO_OPTIONS
    boxes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read the boxes of the objects too."""
    preview: Annotated[str | None, tyro.conf.arg(metavar="FILE.png", help_behavior_hint="")] = None
    """Draw some training images into this file: whole, as six epochs of training see them, as evaluation does."""
    recipe: Annotated[str | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Recipe of the preview: a packaged one or a YAML file; none: digits for the digits, else the defaults."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: layout, classes, splits (images, bytes), exif, fingerprint, notes, tree, examples,
    left_out."""


def run(arguments: list[str]) -> int:
    asked = parse(Info, arguments)
    from tench.data.info import brief_notes, describe
    from tench.data.source import open_source
    from tench.errors import UsageError, counted
    from tench.files import size_text

    if asked.recipe and not asked.preview:
        raise UsageError("--recipe selects what --preview FILE.png draws. Give --preview too, or leave --recipe out.")
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
        images = "image " if split["images"] == 1 else "images"
        print(f"  {name:<6} {split['images']:>9,} {images}  {size_text(split['bytes']):>10}  {_details(split)}")
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


def _orientation(found: dict[str, Any]) -> str:
    """How many images have an EXIF orientation, and what a training does with it by default."""
    from tench.errors import counted

    applied = {"apply": "applies it", "ignore": "ignores it"}[found["auto"]]
    has = "has" if found["rotated"] == 1 else "have"
    return (
        f"EXIF orientation: {found['rotated']:,} of a sample of {counted(found['sampled'], 'image')} {has} one; "
        f"training {applied} unless --exif says otherwise"
    )


def _details(split: dict[str, Any]) -> str:
    """Images per class and the sizes of a split, each as one number where the smallest is the largest."""
    per_class, sizes, unlabelled = split["images_per_class"], split["sizes"], split["unlabelled"]
    if unlabelled == split["images"]:
        parts = ["no labels"]
    else:
        parts = [f"{_range(per_class['min'], per_class['max'], '-')} a class"]
        parts += [f"{unlabelled:,} without label"] if unlabelled else []
    return ", ".join(parts) + (f"  {_range(sizes['smallest'], sizes['largest'], ' to ')} pixels" if sizes else "")


def _range(least: object, most: object, between: str) -> str:
    first, last = (f"{one:,}" if isinstance(one, int) else str(one) for one in (least, most))
    return first if first == last else f"{first}{between}{last}"
