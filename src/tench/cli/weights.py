"""`tench weights`: weights of other programs for tench, and tench's weights for other programs."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Read the weights of another program: PyTorch, Hugging Face, NNabla, MXNet or Gluon; or write tench's for timm
    and torchvision.

    DEST is a new folder that evaluate, predict and train --weights use like a run. It contains the weights, the classes
    and the preprocessing that the program uses. With --to it is a folder for that library, and with the suffix .h5
    NNabla's file in another layout. Examples:

        tench weights resnet50.h5 imported
        tench weights resnet-50-symbol.json imported --classes imagenet --verify ~/imagenet
        tench weights checkpoint.pth.tar imported -a resnet50
        tench weights runs/flowers flowers-timm --to timm
        tench weights nchw.h5 nhwc.h5 --layout nhwc --channels 4
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to read": "source arch classes",
        "What to write": "dest to license layout channels",
        "Check": "verify",
    }

    source: Annotated[str, Flag(metavar="SRC", positional=True)]
    """A PyTorch state dict, a folder of the Hugging Face hub, NNabla's .h5 or .nnp, or MXNet's NAME-symbol.json or
    .params. With --to, also a run."""
    dest: Annotated[str, Flag(metavar="DEST", positional=True)]
    """A new folder, or NNabla's file with the suffix .h5."""
    arch: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """The network, if the file does not name it and its shapes do not tell."""
    classes: Annotated[str | None, Flag(metavar="FILE")] = None
    """A file that lists the classes in order, or imagenet. By default those of SRC, or numbers."""
    to: Literal["timm", "torchvision"] | None = None
    """Write for this library, with a model card: config.json and model.safetensors, or model.pth."""
    license: Annotated[str | None, Flag(metavar="NAME")] = None
    """License of the weights, such as apache-2.0, for the files of --to."""
    verify: Annotated[str | None, Flag(metavar="SOURCE")] = None
    """Evaluate the weights on these images first. Nothing is written if they are no better than chance."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Layout of the NNabla file to write. By default that of SRC."""
    channels: int | None = None
    """Input channels of the NNabla file to write, 3 or 4. By default those of SRC."""


def run(arguments: list[str]) -> int:
    asked = parse(Weights, arguments)
    from tench.export.convert import convert_weights

    target = convert_weights(
        asked.source,
        asked.dest,
        verify=asked.verify,
        arch=asked.arch,
        classes=asked.classes,
        to=asked.to,
        license=asked.license,
        layout=asked.layout,
        channels=asked.channels,
    )
    print(f"Written: {target}")
    if target.suffix:
        return 0
    if asked.to is not None:
        print(f"README.md there says what the weights are and how {asked.to} loads them.")
        return 0
    from tench.files import shell_command
    from tench.weights.own import read_card

    card = read_card(target)
    how = "squeezing both sides" if card.squash else "resizing"
    print(f"  network        {card.arch}, {len(card.classes):,} classes")
    print(f"  images         {card.image_size} px after {how} to {card.eval_resize} px, {card.interpolation}")
    print(f"  channels       {card.channels}{', BGR' if card.channel_order == 'bgr' else ''}")
    print(f"  mean, std      {_values(card.mean)}; {_values(card.std)}, of pixels from 0 to 1")
    if asked.verify is None:
        print(f"To measure it: {shell_command('tench', 'evaluate', target)} SOURCE")
    return 0


def _values(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.4g}" for number in numbers)
