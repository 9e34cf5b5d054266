"""`tench evaluate`: each image of a split exactly once."""

import dataclasses
import json
from typing import Annotated, Literal

import tyro

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.errors import UsageError
from tench.own_code import import_from_here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a run's best weights, a weights file, or published weights.

    Every image is counted exactly once. Images that the model was trained on are left out, wherever they lie now,
    unless --split asks for a whole split. Examples:

        tench evaluate runs/001 ~/cifar10 --split test
        tench evaluate torchvision:resnet50 ~/imagenet
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory, .safetensors file with model.json beside it, torchvision:NAME or timm:NAME[.TAG]."""
    source: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[SOURCE]")] = None
    """Dataset; none: the one that the run validated on."""
    with_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="with", metavar="SOURCE", help_behavior_hint="")
    ] = ()
    """One more source that makes one set with SOURCE, classes united by id; may be given several times."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Split to evaluate, with all its images; none: val, else test, else train, without the images trained on."""
    reading: Annotated[SourceOptions, tyro.conf.UseAppendAction] = NO_OPTIONS
    batch_size: Annotated[int, tyro.conf.arg(aliases=["-b"])] = 256
    """Images per batch."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads that prepare images; 0: one for each core."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    bad: Literal["fail", "skip", "fix"] | None = None
    """Images that cannot be decoded: fail, skip or fix, as for tench train; none: as the training did for its own data,
    else fail."""
    trust_code: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Import the network of your own that the run names, from the current directory too. Importing runs its code."""
    per_class: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the top-1 of every class."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: images, top1, top5, loss (fractions), split, per_class."""


def run(arguments: list[str]) -> int:
    asked = parse(Evaluate, arguments)
    if asked.with_ and asked.source is None:
        raise UsageError("--with adds to a source. Name that one too: tench evaluate RUN SOURCE --with SOURCE.")
    from tench.evaluation.evaluate import evaluate
    from tench.weights.load import load

    if asked.trust_code:
        import_from_here()
    evaluation = evaluate(
        load(asked.model, asked.device, trust_code=asked.trust_code),
        (asked.source, *asked.with_) if asked.with_ and asked.source is not None else asked.source,
        split=asked.split,
        batch_size=asked.batch_size,
        threads=asked.threads,
        bad=asked.bad,
        options=asked.reading,
    )
    if asked.json:
        print(json.dumps(evaluation.to_json()))
        return 0
    if asked.per_class:
        for result in evaluation.per_class:
            share = f"{result.top1:8.2%}" if result.top1 is not None else "       -"
            print(f"{share}  {result.correct:>6}/{result.images:<6} {result.name}")
    for line in str(evaluation).rsplit("\n", 1):  # a newline in the name of the data stays in its line
        print(line)
    return 0
