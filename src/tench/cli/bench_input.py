"""`tench bench input`: how fast images are read, decoded and made into batches."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import tyro

from tench.cli.parse import parse

if TYPE_CHECKING:
    from tench.bench.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchInput:
    """Measure how fast the training images of a source are read, decoded and made into batches.

    Each stage alone in one thread, then the loader whole with 1, 2, 4, ... threads; then in words what bounds it, and
    which preparation would help by how much (a sample is prepared into a temporary folder, and measured). Takes about
    half a minute. Examples:

        tench bench input ~/flowers
        tench bench input ~/imagenet --model resnet50 -b 256 --plot input.png
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Path of the dataset, or digits or synthetic."""
    with_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="with", metavar="SOURCE", help_behavior_hint="")
    ] = ()
    """One more source that makes one set with SOURCE, classes united by id; may be given several times."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Split whose images are measured; none: train, or the one there is."""
    recipe: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Recipe whose training view is made: a packaged one or a YAML file; none: digits for the digits, else the
    defaults."""
    image_size: Annotated[int | None, tyro.conf.arg(metavar="PIXELS", help_behavior_hint="")] = None
    """Side of the view, pixels; none: the recipe's."""
    batch_size: Annotated[int | None, tyro.conf.arg(aliases=["-b"], metavar="IMAGES", help_behavior_hint="")] = None
    """Images per batch; none: the recipe's."""
    threads: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["-j"])] = ()
    """Numbers of threads to measure, beside 1; none: 1, 2, 4, ... up to the cores."""
    seconds: float = 30.0
    """About how long to measure, without the network; decides how many images are in the sample."""
    model: Annotated[str | None, tyro.conf.arg(aliases=["-a"], metavar="ARCH", help_behavior_hint="")] = None
    """Measure the training step of this network too, and say which of the two waits."""
    device: str = "auto"
    """Device of the network: auto, cpu, cuda, ...; auto is the GPU if there is one."""
    plot: Annotated[str | None, tyro.conf.arg(metavar="FILE.png", help_behavior_hint="")] = None
    """Draw images per second against threads into this file."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: rows (stage, threads, images_per_second, ...; stage whole is the complete path), shares,
    bound, remedies, verdict."""


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
        f"{result.source} ({result.split}): {result.sampled:,} of {result.num_images:,} images, {result.view}, "
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
