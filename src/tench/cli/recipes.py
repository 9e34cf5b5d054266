"""`tench recipes`: list the packaged recipes, or print one."""

import dataclasses
from typing import Annotated, ClassVar

from tench.cli.parse import parse
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the packaged recipes, or print one in full, with our measurements.

    A printed recipe is a complete file: save it, edit it, and pass it to tench train --recipe. Or write a file with
    `like: NAME` and only the values that differ. Example:

        tench recipes cifar-resnet
    """

    GROUPS: ClassVar[dict[str, str]] = {"Options": "name"}

    name: Annotated[str | None, Flag(metavar="NAME", positional=True)] = None
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
        raise UsageError(f"unknown recipe {asked.name!r}.{nearest(asked.name, names)} Known: {', '.join(names)}.")
    for line in recipe_text(asked.name).splitlines():
        print(line)
    return 0
