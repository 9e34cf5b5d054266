"""`tench weights`: weights of other programs, for use with tench."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Read the weights of another program: PyTorch, NNabla, MXNet or Gluon.

    DEST is a new folder that evaluate, predict and train --weights use like a run. It contains the weights, the classes
    and the preprocessing that the program uses. With the suffix .h5, DEST is NNabla's file in another layout. Examples:

        tench weights resnet50.h5 imported
        tench weights resnet-50-symbol.json imported --classes imagenet
        tench weights checkpoint.pth.tar imported -a resnet50
        tench weights nchw.h5 nhwc.h5 --layout nhwc --channels 4
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to read": "source arch classes",
        "What to write": "dest layout channels",
    }

    source: Annotated[str, Flag(metavar="SRC", positional=True)]
    """A PyTorch state dict, NNabla's .h5, or MXNet's NAME-symbol.json or .params."""
    dest: Annotated[str, Flag(metavar="DEST", positional=True)]
    """A new folder, or NNabla's file with the suffix .h5."""
    arch: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """The network, if the file does not name it and its shapes do not tell."""
    classes: Annotated[str | None, Flag(metavar="FILE")] = None
    """A file that lists the classes in order, or imagenet. By default the classes are numbers."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Layout of the NNabla file to write. By default that of SRC."""
    channels: int | None = None
    """Input channels of the NNabla file to write, 3 or 4. By default those of SRC."""


def run(arguments: list[str]) -> int:
    asked = parse(Weights, arguments)
    from tench.weights.convert import convert_weights

    target = convert_weights(
        asked.source,
        asked.dest,
        arch=asked.arch,
        classes=asked.classes,
        layout=asked.layout,
        channels=asked.channels,
    )
    if target.suffix:
        print(f"Written: {target}")
        return 0
    from tench.files import shell_command
    from tench.weights.own import read_card

    card = read_card(target)
    print(f"Written: {target}")
    print(f"  network        {card.arch}, {len(card.classes):,} classes")
    print(f"  images         {card.image_size} px after resizing to {card.eval_resize} px, {card.interpolation}")
    print(f"  channels       {card.channels}{', BGR' if card.channel_order == 'bgr' else ''}")
    print(f"  mean, std      {_values(card.mean)}; {_values(card.std)}, of pixels from 0 to 1")
    print(f"To measure it: {shell_command('tench', 'evaluate', target)} SOURCE")
    return 0


def _values(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.4g}" for number in numbers)
