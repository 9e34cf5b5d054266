"""`tench models`: list the networks that can be created by name."""

import dataclasses
import json
from typing import Annotated, ClassVar

from tench.cli.parse import parse
from tench.flags import Flag

_MOST_DESCRIBED = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Models:
    """List the networks of tench, torchvision and timm, and those of other systems (SYSTEM:NAME), with their cost.

    GMACs are billions of multiply-accumulates in convolutions and linear layers, for one image of the network's usual
    size. More than 40 matches are listed by name only, unless --all is given. Example:

        tench models 'resnet*'
    """

    GROUPS: ClassVar[dict[str, str]] = {"Options": "pattern all json"}

    pattern: Annotated[str, Flag(metavar="PATTERN", positional=True)] = "*"
    """Part of a name, or a shell pattern in quotes."""
    all: bool = False
    """Print parameters and GMACs of every match."""
    json: bool = False
    """Print a JSON list of all matches. Keys: name, source, image_size, parameters, gmacs, conv_gmacs (of
    convolutions)."""


def run(arguments: list[str]) -> int:
    asked = parse(Models, arguments)
    from tench.errors import UsageError
    from tench.models import describe, find
    from tench.progress import progress

    names = find(asked.pattern)
    if not names:
        raise UsageError(f"{asked.pattern!r} matches no network. Try a shorter part of the name.")
    if len(names) > _MOST_DESCRIBED and not asked.all and not asked.json:
        for name in names:
            print(name)
        print(f"{len(names):,} networks. Use a narrower pattern or --all to see parameters and GMACs.")
        return 0
    infos = []
    with progress("describe", len(names), "networks") as advance:
        for name in names:
            infos.append(describe(name))
            advance(1, name)
    if asked.json:
        print(json.dumps([dataclasses.asdict(info) for info in infos]))
        return 0
    width = max(len("name"), *map(len, names))
    print(f"{'name':<{width}}  {'from':<11}  {'pixels':>6}  {'parameters':>12}  {'GMACs':>8}")
    for info in infos:
        print(
            f"{info.name:<{width}}  {info.source:<11}  {info.image_size:>6}  {info.parameters:>12,}  {info.gmacs:>8.3f}"
        )
    return 0
