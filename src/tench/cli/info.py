"""`tench info`: describe a source."""

import dataclasses
import json
from typing import Annotated

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
    """Draw some training images into this file: as stored, as six epochs of training see them, as evaluation does."""
    recipe: Annotated[str | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Recipe of the preview: a packaged one or a YAML file; none: digits for the digits, else the defaults."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: layout, classes, splits (images, bytes), fingerprint, notes, tree, examples, left_out."""


def run(arguments: list[str]) -> int:
    asked = parse(Info, arguments)
    from tench.data.info import describe
    from tench.data.source import open_source
    from tench.errors import UsageError

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
    print(f"{dataset.source}: {dataset.layout}, {len(dataset.classes)} classes")
    for name, split in facts["splits"].items():
        sizes = split["sizes"]
        print(
            f"  {name:<6} {split['images']:>9,} images  {split['bytes'] / 1e6:>10,.1f} MB"
            f"  {split['images_per_class']['min']}-{split['images_per_class']['max']} a class"
            + (f", {split['unlabelled']} without label" if split["unlabelled"] else "")
            + (f"  {sizes['smallest']} to {sizes['largest']} pixels" if sizes else "")
        )
    shown = ", ".join(
        class_id if class_id == name else f"{class_id} ({name})"
        for class_id, name in list(zip(dataset.classes.ids, dataset.classes.names, strict=True))[:5]
    )
    print(f"  classes: {shown}{', ...' if len(dataset.classes) > 5 else ''}")
    for class_id, keys in facts["examples"].items():
        print(f"    {class_id}: {', '.join(keys) or 'no images'}")
    if dataset.outline:
        print("  found:")
    for line in dataset.outline:
        print(f"    {line}")
    print(f"  fingerprint {dataset.fingerprint}")
    for note in dataset.notes:
        print(f"  note: {note}")
    if asked.preview:
        print(f"  preview: {asked.preview}")
    return 0
