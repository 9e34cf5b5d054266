"""`tench recipes`: list the packaged recipes, or print one."""

import dataclasses
from typing import Annotated

import tyro

from tench.cli.parse import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the packaged recipes, or print one in full, with what we measured of it.

    A printed recipe is a file: save it, change it, and give it to tench train --recipe. Or write one that says
    `like: NAME`, and below that only what differs. Example:

        tench recipes cifar-resnet
    """

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """A packaged recipe."""


def run(arguments: list[str]) -> int:
    asked = parse(Recipes, arguments)
    from tench.errors import UsageError, nearest
    from tench.training.recipe_file import PACKAGED, packaged_recipes, recipe_text

    names = packaged_recipes()
    if asked.name is None:
        for name in names:
            title = (PACKAGED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            print(f"{name:<{max(map(len, names))}}  {title}")
        return 0
    if asked.name not in names:
        raise UsageError(
            f"{asked.name}: no such packaged recipe.{nearest(asked.name, names)} Known: {', '.join(names)}."
        )
    for line in recipe_text(asked.name).splitlines():
        print(line)
    return 0
