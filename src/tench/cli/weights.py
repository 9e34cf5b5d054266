"""`tench weights`: convert weights of other programs for tench, and export tench's to timm and torchvision."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.cli.termination import termination_raises
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Convert weights of PyTorch, Hugging Face, NNabla, MXNet or Gluon for tench, or export weights to timm or
    torchvision.

    By default, DEST is a new folder that evaluate, predict and train --weights use like a run: weights, classes and the
    program's preprocessing. With --to, DEST is a folder for that library. If DEST ends in .h5, an NNabla file is
    rewritten in another layout. Examples:

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
    """A PyTorch state dict, a transformers or timm folder, NNabla's .h5 or .nnp, MXNet's NAME-symbol.json or .params,
    or published weights (torchvision:NAME, timm:NAME). With --to, also a run."""
    dest: Annotated[str, Flag(metavar="DEST", positional=True)]
    """A new folder, or NNabla's file with the suffix .h5."""
    arch: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """The network, if the file does not name it. Shapes suffice for NNabla and Gluon."""
    classes: Annotated[str | None, Flag(metavar="FILE")] = None
    """A file that lists the classes in order, or imagenet. Default: the classes that SRC names, else numbers."""
    to: Literal["timm", "torchvision"] | None = None
    """Export for this library, with a model card. timm: config.json and model.safetensors; torchvision: model.pth."""
    license: Annotated[str | None, Flag(metavar="NAME")] = None
    """License to state in the model card and in timm's config.json, such as apache-2.0. Only with --to."""
    verify: Annotated[str | None, Flag(metavar="SOURCE")] = None
    """Evaluate the weights on these labelled images first, and write nothing unless they are clearly better than
    chance. Without -a, the networks that fit are compared."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Layout of the NNabla file to write. By default that of SRC."""
    channels: int | None = None
    """Input channels of the NNabla file to write, 3 or 4. By default those of SRC."""


def run(arguments: list[str]) -> int:
    asked = parse(Weights, arguments)
    from tench.exporting.convert import convert_weights

    with termination_raises():
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
    if target.suffix:
        from tench.weights.nnabla_h5 import in_channels_of, layout_of, read_h5

        parameters = read_h5(target)
        print(f"Written: {target} ({layout_of(parameters)}, {in_channels_of(parameters)} input channels)")
        return 0
    print(f"Written: {target}")
    if asked.to is not None:
        print(f"See {target / 'README.md'} for the model card and the code that loads the weights.")
        return 0
    from tench.files import shell_command
    from tench.weights.known import short_numbers
    from tench.weights.own import read_card

    card = read_card(target)
    how = "squashing" if card.squash else "resizing"
    print(f"  network        {card.arch}, {len(card.classes):,} classes")
    print(f"  images         {card.image_size} px after {how} to {card.eval_resize} px, {card.interpolation}")
    print(f"  channels       {card.channels}{', BGR' if card.channel_order == 'bgr' else ''}")
    print(f"  mean, std      {short_numbers(card.mean)}; {short_numbers(card.std)}, of pixels from 0 to 1")
    if asked.verify is None:
        print(f"To measure it: {shell_command('tench', 'evaluate', target)} SOURCE")
    return 0
