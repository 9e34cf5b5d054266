"""`tench bench train`: the training speed of networks on this device."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from tench.cli.parse import parse

if TYPE_CHECKING:
    from tench.bench.train import TrainResult, TrainRow

_NAME_WIDTH = 12
"""Width of the first column if no name is longer: rows are shown before all names are known."""
_HEAD = "  pixels  batch  precision  format   images/s          min to max    memory   GMACs  share"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchTrain:
    """Measure how fast networks learn on this device: the training step alone, on made-up images.

    Each combination of networks, batch sizes, precisions and memory formats is a row. One that cannot
    be measured is a row with the reason. Rows are shown as they finish; Ctrl-C keeps the finished ones. Examples:

        tench bench train
        tench bench train -a resnet18 resnet50 -b 64 256 --precision bf16 fp32 --memory-format nchw nhwc
    """

    archs: Annotated[
        tuple[str, ...], tyro.conf.arg(name="arch", aliases=["-a"], metavar="ARCH [ARCH ...]", help_behavior_hint="")
    ] = ()
    """Networks, by the names of tench models; none: the recipe's."""
    batch_sizes: Annotated[
        tuple[int, ...],
        tyro.conf.arg(name="batch-size", aliases=["-b"], metavar="IMAGES [IMAGES ...]", help_behavior_hint=""),
    ] = ()
    """Images per batch; none: the recipe's, on a processor at most 16."""
    precisions: Annotated[
        tuple[Literal["auto", "fp32", "bf16", "fp16"], ...], tyro.conf.arg(name="precision", help_behavior_hint="")
    ] = ()
    """Number formats; none: the recipe's."""
    memory_formats: Annotated[
        tuple[Literal["auto", "nchw", "nhwc"], ...], tyro.conf.arg(name="memory-format", help_behavior_hint="")
    ] = ()
    """Memory orders of images and filters; none: the recipe's."""
    recipe: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Recipe with the optimizer and all other settings: a packaged one or a YAML file; none: the defaults."""
    image_size: Annotated[int | None, tyro.conf.arg(metavar="PIXELS", help_behavior_hint="")] = None
    """Side of the images, pixels; none: the recipe's, else each network's usual one."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1; auto is the GPU if there is one."""
    seconds: float = 2.5
    """About how long to measure each row."""
    csv: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the rows into this file too."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: rows (arch, batch_size, precision, ..., images_per_second), peaks, device."""


def run(arguments: list[str]) -> int:
    asked = parse(BenchTrain, arguments, command="bench train")
    from tench.bench.texts import kept
    from tench.bench.train import TrainResult, bench_train
    from tench.files import require_place
    from tench.machine import choose_device
    from tench.training.recipe_file import load_recipe

    if asked.csv:
        require_place(asked.csv, "the table")
    device = choose_device(asked.device).type
    width = max([_NAME_WIDTH, *map(len, asked.archs)])
    rows: list[TrainRow] = []

    def show(row: "TrainRow", is_first: bool) -> None:
        if is_first:
            compiled = "compiled" if row.compile == "on" else "not compiled"  # the recipe's, so the same in all
            print(f"Training step on {device}, {compiled}")
            print(f"  {'network':<{width}}{_HEAD}")
        print(_line(row, width), flush=True)

    try:
        bench_train(
            asked.archs,
            batch_sizes=asked.batch_sizes,
            precisions=asked.precisions,
            memory_formats=asked.memory_formats,
            recipe=load_recipe(asked.recipe) if asked.recipe else None,
            image_size=asked.image_size,
            device=asked.device,
            seconds=asked.seconds,
            found=kept(rows, asked.csv, None if asked.json else show),
        )
    finally:  # Ctrl-C too leaves what was measured before it
        result = TrainResult(device, rows)
        if rows:
            print(json.dumps(result.to_json())) if asked.json else _show_peaks(result)
    return 0


def _show_peaks(result: "TrainResult") -> None:
    from tench.bench.texts import figures

    for one in result.peaks:
        print(
            f"share, {one.precision}: 3 x the forward GMACs, 2 FLOPs each, of the faster of a {one.product_size} "
            f"matrix product ({figures(one.product / 1e9)} GFLOP/s) and a 3 x 3 convolution "
            f"({figures(one.convolution / 1e9)} GFLOP/s)."
        )


def _line(row: "TrainRow", width: int) -> str:
    return (
        f"  {row.arch:<{width}}  {row.image_size:>6}  {row.batch_size:>5}  {row.precision:>9}{row.memory_format:>8}"
        + _measured(row)
    )


def _measured(row: "TrainRow") -> str:
    from tench.bench.texts import figures
    from tench.files import size_text

    if isinstance(row.rate, str):
        return f"  {row.rate}"
    assert row.share is not None
    spread = f"{figures(row.rate.min)} to {figures(row.rate.max)}"
    memory = "" if row.memory_bytes is None else size_text(row.memory_bytes)
    return f"{figures(row.rate.median):>11}{spread:>20}{memory:>10}{row.gmacs:>8.3f}{row.share:>7.0%}"
