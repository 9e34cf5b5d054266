"""`tench bench train`: the training speed of networks on this device."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.flags import Flag

if TYPE_CHECKING:
    from tench.bench.train import TrainResult, TrainRow

_NAME_WIDTH = 12
"""Minimum width of the first column: rows are shown before all names are known."""
_HEAD = "  pixels  batch  precision  format   images/s          min to max    memory   GMACs  share"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchTrain:
    """Measure how fast networks train on this device: the step alone, on synthetic images.

    Each combination of networks, batch sizes, precisions and memory formats is a row; if it cannot be measured, the row
    gives the reason. Rows are printed as they finish; Ctrl-C keeps the finished ones. Examples:

        tench bench train
        tench bench train -a resnet18 resnet50 -b 64 256 --precision bf16 fp32 --memory-format nchw nhwc
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to measure": "arch batch-size precision memory-format recipe image-size device",
        "Output": "seconds csv json",
    }

    archs: Annotated[tuple[str, ...], Flag(name="arch", aliases=("-a",), metavar="ARCH ...")] = ()
    """Networks, as tench models lists them. By default the recipe's."""
    batch_sizes: Annotated[
        tuple[int, ...],
        Flag(name="batch-size", aliases=("-b",), metavar="N ..."),
    ] = ()
    """Images per batch. By default the recipe's; at most 16 on a CPU."""
    precisions: Annotated[tuple[Literal["auto", "fp32", "bf16", "fp16"], ...], Flag(name="precision")] = ()
    """Number formats; by default the recipe's."""
    memory_formats: Annotated[tuple[Literal["auto", "nchw", "nhwc"], ...], Flag(name="memory-format")] = ()
    """Memory layouts of images and filters; by default the recipe's."""
    recipe: Annotated[str | None, Flag(metavar="NAME")] = None
    """Recipe for all other settings: a packaged recipe or a YAML file. By default the default settings."""
    image_size: Annotated[int | None, Flag(metavar="N")] = None
    """Image side in pixels. By default the recipe's, else each network's usual size."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    seconds: float = 2.5
    """Approximate time to measure each row."""
    csv: Annotated[str | None, Flag(metavar="FILE")] = None
    """Also write the rows to this file."""
    json: bool = False
    """Print one JSON object. Keys: rows (arch, batch_size, precision, ..., images_per_second), peaks, device."""


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
    finally:  # after Ctrl-C too, the finished rows are kept
        result = TrainResult(device, rows)
        if rows:
            print(json.dumps(result.to_json())) if asked.json else _show_peaks(result)
    return 0


def _show_peaks(result: "TrainResult") -> None:
    from tench.bench.texts import figures

    for one in result.peaks:
        print(
            f"share, {one.precision}: 3 x the forward GMACs, 2 FLOPs per MAC, relative to the faster of a "
            f"{one.product_size} matrix product ({figures(one.product / 1e9)} GFLOP/s) and a 3 x 3 convolution "
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
