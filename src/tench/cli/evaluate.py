"""`tench evaluate`: measure a model on a split, with each image counted exactly once."""

import dataclasses
import json
from typing import Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.errors import UsageError
from tench.flags import Flag
from tench.own_code import import_from_here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a run's best weights, a weights file, or published weights.

    Every image is counted exactly once. Images that the model was trained on are left out, even if they have moved,
    unless --split selects a whole split. Examples:

        tench evaluate runs/001 ~/cifar10 --split test
        tench evaluate torchvision:resnet50 ~/imagenet
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to evaluate": "model arch classes source with split label exclude",
        "Computation": "batch-size threads device | bad trust-code",
        "Output": "per-class json",
    }

    model: Annotated[str, Flag(metavar="RUN", positional=True)]
    """Run directory, published weights (torchvision:NAME or timm:NAME[.TAG]), a weights file (see tench weights),
    or an .onnx file from tench export."""
    source: Annotated[str | None, Flag(metavar="SOURCE", positional=True)] = None
    """The dataset; by default what the run validated on."""
    with_: Annotated[tuple[str, ...], Flag(name="with", metavar="SOURCE", repeated=True)] = ()
    """Another source to merge with SOURCE. Classes are matched by id. May be given several times."""
    split: Annotated[str | None, Flag(metavar="NAME")] = None
    """Split to evaluate, with all its images. By default val, else test, else train, without the training images of the
    model."""
    reading: SourceOptions = NO_OPTIONS
    batch_size: Annotated[int, Flag(aliases=("-b",))] = 256
    """Images per batch."""
    threads: Annotated[int, Flag(aliases=("-j", "--workers"))] = 0
    """Threads that prepare images; 0 is one per core."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    bad: Literal["fail", "skip", "fix"] | None = None
    """What to do with images that do not decode; see tench train. By default as in training for the run's own data,
    else fail."""
    arch: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """The network of a file of another program, if the file does not name it."""
    classes: Annotated[str | None, Flag(metavar="FILE")] = None
    """The names of a model's classes if it has only numbers: a file that lists them in order, or imagenet."""
    trust_code: bool = False
    """Import your own network that the run names; it may be in the current directory. Importing runs its code."""
    per_class: bool = False
    """Print the top-1 of each class."""
    json: bool = False
    """Print one JSON object. Keys: images, top1, top5 (fractions), loss, split, per_class."""


def run(arguments: list[str]) -> int:
    asked = parse(Evaluate, arguments)
    if asked.with_ and asked.source is None:
        raise UsageError("--with adds to SOURCE, which is missing. Usage: tench evaluate RUN SOURCE --with SOURCE.")
    from tench.evaluation.evaluate import evaluate
    from tench.weights.load import load

    if asked.trust_code:
        import_from_here()
    evaluation = evaluate(
        load(asked.model, asked.device, arch=asked.arch, classes=asked.classes, trust_code=asked.trust_code),
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
    for line in str(evaluation).rsplit("\n", 1):  # a newline in the data's name stays within its line
        print(line)
    return 0
