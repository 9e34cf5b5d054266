"""`tench export`: one file that gives a model's answers elsewhere."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.cli.termination import termination_raises
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.flags import Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """Export a run or weights to ONNX, with the preprocessing inside, and verify the file on real images.

    Beside DEST.onnx appear DEST.py, which classifies images with only onnxruntime, NumPy and Pillow, and DEST.json with
    the comparison. If the file's accuracy is worse than the model's, nothing is written. Examples:

        tench export runs/flowers flowers.onnx
        tench export timm:resnet50 resnet50.onnx --source ~/imagenet --verify all
        tench export runs/flowers network.onnx --input normalised
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to export": "model dest input arch classes",
        "Verification": "source split label verify max-drop exclude",
    }

    model: Annotated[str, Flag(metavar="RUN", positional=True)]
    """Run directory, published weights (torchvision:NAME or timm:NAME[.TAG]), or a weights file: see tench weights."""
    dest: Annotated[str, Flag(metavar="DEST", positional=True)]
    """A new file with the suffix .onnx."""
    input: Literal["image", "view", "normalised"] = "image"
    """What the graph accepts. image: uint8 RGB of any size; view: uint8, resized and cropped; both give probabilities.
    normalised: float32; gives logits."""
    arch: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """The network of a file of another program, if the file does not name it."""
    classes: Annotated[str | None, Flag(metavar="FILE")] = None
    """The names of a model's classes if it has only numbers: a file that lists them in order, or imagenet."""
    source: Annotated[str | None, Flag(metavar="SOURCE")] = None
    """Labelled images to verify the file on; by default what the run validated on."""
    split: Annotated[str | None, Flag(metavar="NAME")] = None
    """Split of SOURCE; see tench evaluate."""
    reading: SourceOptions = NO_OPTIONS
    verify: Annotated[str, Flag(metavar="N")] = "2000"
    """Images to verify on, evenly spread over the split, or all."""
    max_drop: float = 0.1
    """Loss of top-1, in points, above which nothing is written."""


def run(arguments: list[str]) -> int:
    asked = parse(Export, arguments)
    from tench.errors import UsageError
    from tench.exporting.export import export
    from tench.files import size_text
    from tench.weights.load import load

    if asked.verify != "all" and not (asked.verify.isascii() and asked.verify.isdigit()):
        raise UsageError(f"--verify must be a number of images or all, got {asked.verify}.")
    with termination_raises():
        found = export(
            load(asked.model, "cpu", arch=asked.arch, classes=asked.classes),
            asked.dest,
            input=asked.input,
            source=asked.source,
            split=asked.split,
            verify="all" if asked.verify == "all" else int(asked.verify),
            max_drop=asked.max_drop,
            options=asked.reading,
        )
    print(f"Written: {asked.dest} ({size_text(found.file_bytes)})")
    print(f"  top-1          {found.top1_export:.2%}, model {found.top1_model:.2%}, {found.images:,} images")
    print(f"  same answer    {found.agreement:.2%}{f', {found.ties} ties' if found.ties else ''}")
    print(f"  probabilities  differ by at most {found.largest_difference:.2g}")
    print(f"  one image      {found.export_ms:.1f} ms, model {found.model_ms:.1f} ms")
    print(f"  batches of 16  {found.export_images_per_second:.0f} images/s, model {found.model_images_per_second:.0f}")
    if asked.input == "image":
        print(f"Use it: python {asked.dest.removesuffix('.onnx')}.py IMAGE ...")
    return 0
