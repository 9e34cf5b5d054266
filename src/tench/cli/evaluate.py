"""`tench evaluate`: each image of a split exactly once."""

import dataclasses
import json
from typing import Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.errors import counted
from tench.flags import Flag
from tench.own_code import import_from_here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a run's best weights, a weights file, or published weights.

    Each image of the split is counted exactly once. Examples:

        tench evaluate runs/001 ~/cifar10 --split test
        tench evaluate torchvision:resnet50 ~/imagenet
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to evaluate": "model source split label exclude",
        "Computation": "batch-size threads device | bad trust-code",
        "Output": "per-class json",
    }

    model: Annotated[str, Flag(metavar="RUN", positional=True)]
    """Run directory, weights file or published weights. A .safetensors file needs its model.json beside it; published
    weights are torchvision:NAME or timm:NAME[.TAG]."""
    source: Annotated[str | None, Flag(metavar="SOURCE", positional=True)] = None
    """The dataset; by default what the run validated on."""
    split: Annotated[str | None, Flag(metavar="NAME")] = None
    """Split to evaluate. By default val, else test, else train; of a training set only what was held out."""
    reading: SourceOptions = NO_OPTIONS
    batch_size: Annotated[int, Flag(aliases=("-b",))] = 256
    """Images per batch."""
    threads: Annotated[int, Flag(aliases=("-j", "--workers"))] = 0
    """Threads that prepare images (0: one per core)."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    bad: Literal["fail", "skip", "fix"] | None = None
    """What to do with images that do not decode. See tench train. By default what the training did, for the data it
    trained and validated on, else fail."""
    trust_code: bool = False
    """Import the network of your own that the run names, from the current directory too. Importing runs its code."""
    per_class: bool = False
    """Print the top-1 of each class."""
    json: bool = False
    """Print one JSON object. Keys: images, top1, top5 (fractions), loss, split, per_class."""


def run(arguments: list[str]) -> int:
    asked = parse(Evaluate, arguments)
    from tench.evaluation.evaluate import evaluate_source
    from tench.weights.load import load

    if asked.trust_code:
        import_from_here()
    classifier = load(asked.model, asked.device, trust_code=asked.trust_code)
    name, metrics = evaluate_source(
        classifier,
        asked.source,
        split=asked.split,
        batch_size=asked.batch_size,
        threads=asked.threads,
        bad=asked.bad,
        options=asked.reading,
    )
    classes = classifier.classes
    rows = list(zip(classes.ids, classes.names, metrics.per_class, strict=True))
    if asked.json:
        per_class = [
            {"id": class_id, "name": class_name, "images": images, "correct": correct}
            for class_id, class_name, (images, correct) in rows
        ]
        print(json.dumps(metrics.to_json() | {"split": name, "per_class": per_class}))
        return 0
    if asked.per_class:
        for _, class_name, (images, correct) in rows:
            share = f"{correct / images:8.2%}" if images else "       -"
            print(f"{share}  {correct:>6}/{images:<6} {class_name}")
    print(f"{name}: {counted(metrics.images, 'image')}, each counted once")
    print(f"top-1 {metrics.top1:.2%}   top-5 {metrics.top5:.2%}   loss {metrics.loss:.4f}")
    return 0
