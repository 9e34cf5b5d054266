"""`tench bench train`: how fast networks learn on this device."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from tench.cli.parse import parse

if TYPE_CHECKING:
    from tench.bench.train import TrainResult, TrainRow


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchTrain:
    """Measure how fast networks learn on this device: the training step alone, on made-up images.

    Each combination of networks, batch sizes, precisions and memory formats is a row. One that runs out of memory is a
    row too. Examples:

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
    """Recipe with the optimizer and what is not named here: a packaged one or a YAML file; none: the defaults."""
    image_size: Annotated[int | None, tyro.conf.arg(metavar="PIXELS", help_behavior_hint="")] = None
    """Side of the images, pixels; none: the recipe's, else each network's usual one."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1; auto is the GPU where there is one."""
    seconds: float = 2.5
    """About how long to measure each row."""
    csv: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the rows into this file too."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: rows (arch, batch_size, precision, ..., images_per_second), peaks, device."""


def run(arguments: list[str]) -> int:
    asked = parse(BenchTrain, arguments, command="bench train")
    from tench.bench.texts import write_csv
    from tench.bench.train import bench_train
    from tench.files import require_place
    from tench.training.recipe_file import load_recipe

    if asked.csv:
        require_place(asked.csv, "the table")
    result = bench_train(
        asked.archs,
        batch_sizes=asked.batch_sizes,
        precisions=asked.precisions,
        memory_formats=asked.memory_formats,
        recipe=load_recipe(asked.recipe) if asked.recipe else None,
        image_size=asked.image_size,
        device=asked.device,
        seconds=asked.seconds,
    )
    if asked.csv:
        write_csv(asked.csv, [row.to_json() for row in result.rows])
    if asked.json:
        print(json.dumps(result.to_json()))
    else:
        _show(result)
    return 0


def _show(result: "TrainResult") -> None:
    from tench.bench.texts import figures

    width = max(len("network"), *(len(row.arch) for row in result.rows))
    print(f"Training step on {result.device}")
    head = "  pixels  batch  precision  format   images/s          min to max    memory   GMACs  share"
    print(f"  {'network':<{width}}{head}")
    for row in result.rows:
        print(
            f"  {row.arch:<{width}}  {row.image_size:>6}  {row.batch_size:>5}  {row.precision:>9}{row.memory_format:>8}"
            + _measured(row)
        )
    for one in result.peaks:
        print(
            f"share, {one.precision}: 3 x the forward GMACs, 2 FLOPs each, of the faster of a {one.product_size} "
            f"matrix product ({figures(one.product / 1e9)} GFLOP/s) and a 3 x 3 convolution "
            f"({figures(one.convolution / 1e9)} GFLOP/s)."
        )


def _measured(row: "TrainRow") -> str:
    from tench.bench.texts import figures
    from tench.files import size_text

    if row.rate is None or row.share is None:
        return "  out of memory"
    spread = f"{figures(row.rate.min)} to {figures(row.rate.max)}"
    memory = "" if row.memory_bytes is None else size_text(row.memory_bytes)
    return f"{figures(row.rate.median):>11}{spread:>20}{memory:>10}{row.gmacs:>8.3f}{row.share:>7.0%}"
