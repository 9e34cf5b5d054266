"""`tench bench input`: how fast images are read, decoded and batched."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, ClassVar

from tench.cli.parse import parse
from tench.errors import counted
from tench.flags import Flag

if TYPE_CHECKING:
    from tench.bench.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchInput:
    """Measure how fast a source's training images are read, decoded and batched.

    Each stage runs alone in one thread, then the whole loader with 1, 2, 4, ... threads. The verdict says what limits
    the input and how much tench prepare would help (a sample is prepared in a temporary folder and measured). Takes
    about half a minute. Examples:

        tench bench input ~/flowers
        tench bench input ~/imagenet --model resnet50 -b 256 --plot input.png
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to measure": "source recipe image-size batch-size threads model | with split device",
        "Output": "seconds plot json",
    }

    source: Annotated[str, Flag(metavar="SOURCE", positional=True)]
    """The dataset: a path, digits or synthetic."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """Another source to merge with SOURCE. Classes are matched by id. May be given several times."""
    split: Annotated[str | None, Flag(metavar="NAME")] = None
    """Split to measure. By default train, or the only one."""
    recipe: Annotated[str | None, Flag(metavar="NAME")] = None
    """Recipe for the training view: a packaged recipe or a YAML file. By default the recipe digits for the source
    digits, else the default settings."""
    image_size: Annotated[int | None, Flag(metavar="N")] = None
    """Image side in pixels; by default the recipe's."""
    batch_size: Annotated[int | None, Flag(aliases=("-b",), metavar="N")] = None
    """Images per batch; by default the recipe's."""
    threads: Annotated[tuple[int, ...], Flag(aliases=("-j",))] = ()
    """Thread counts to measure in addition to 1. By default 2, 4, ... up to the number of cores."""
    seconds: float = 30.0
    """Approximate measuring time, without the network. It determines the number of images in the sample."""
    model: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """Also measure this network's training step. The verdict says whether the network or the input is the limit."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """Device of the network: auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    plot: Annotated[str | None, Flag(metavar="FILE.png")] = None
    """Plot images per second against threads."""
    json: bool = False
    """Print one JSON object. Keys: rows (stage, threads, images_per_second, ...; stage whole is the complete path),
    shares, bound, remedies, verdict."""


def run(arguments: list[str]) -> int:
    asked = parse(BenchInput, arguments, command="bench input")
    from tench.bench.input import bench_input
    from tench.files import require_png, write_png
    from tench.training.fit import default_recipe
    from tench.training.recipe_file import load_recipe
    from tench.training.recipe_views import at_size

    if asked.plot:
        require_png(asked.plot, "the chart")
    recipe = load_recipe(asked.recipe) if asked.recipe else default_recipe(None, asked.source)
    if asked.batch_size is not None:
        recipe = recipe.replace(batch_size=asked.batch_size)
    if asked.image_size is not None:
        recipe = at_size(recipe, asked.image_size)
    result = bench_input(
        (asked.source, *asked.with_),
        recipe=recipe,
        split=asked.split,
        threads=asked.threads,
        seconds=asked.seconds,
        device=asked.device,
        arch=asked.model,
    )
    if asked.plot:
        from tench.bench.chart import chart

        write_png(asked.plot, chart(result), "the chart")
    if asked.json:
        from tench.bench.verdict import bound, verdict

        print(json.dumps(result.to_json() | {"bound": bound(result), "verdict": verdict(result)}))
    else:
        _show(result)
    return 0


def _show(result: "Result") -> None:
    from tench.bench.verdict import verdict

    print(
        f"{result.source} ({result.split}): {result.sampled:,} of {counted(result.num_images, 'image')}, "
        f"{result.view}, "
        f"{result.image_size} x {result.image_size} x {result.channels}, batches of {result.batch_size}"
    )
    print("  stage       threads    images/s         min to max   of one thread      memory")
    for row in result.rows:
        rate, ratio = row.rate, result.ratio(row)
        spread = f"{rate.min:,.0f} to {rate.max:,.0f}" if rate.median >= 100 else f"{rate.min:.2f} to {rate.max:.2f}"
        median = f"{rate.median:,.0f}" if rate.median >= 100 else f"{rate.median:.2f}"
        memory = "" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:,.0f} MB"
        times = "" if ratio is None else f"{ratio:.2f}"
        print(f"  {row.stage:<12}{row.threads:>7}{median:>12}{spread:>19}{times:>16}{memory:>12}".rstrip())
    print()
    for sentence in verdict(result):
        print(sentence)
