"""`tench evaluate`: each image of a split exactly once."""

import dataclasses
import json
from typing import Annotated, Literal

import tyro

from tench.cli.parse import parse
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.own_code import import_from_here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a run's best weights, a weights file, or published weights.

    Every image of the split is counted exactly once. Examples:

        tench evaluate runs/001 ~/cifar10 --split test
        tench evaluate torchvision:resnet50 ~/imagenet
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory, .safetensors file with model.json beside it, torchvision:NAME or timm:NAME[.TAG]."""
    source: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[SOURCE]")] = None
    """Dataset; none: the one that the run validated on."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Split to evaluate; none: val, else test, else train, of a training set only what was held out."""
    reading: Annotated[SourceOptions, tyro.conf.UseAppendAction] = NO_OPTIONS
    batch_size: Annotated[int, tyro.conf.arg(aliases=["-b"])] = 256
    """Images per batch."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads that prepare images; 0: one for each core."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    bad: Literal["fail", "skip", "fix"] | None = None
    """Images that do not decode: see tench train; none: what the training did, of what it was trained and validated on,
    else fail."""
    trust_code: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Import the network of your own that the run names, from the current directory too. Importing runs its code."""
    per_class: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the top-1 of every class."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object: images, top1, top5, loss (fractions), split, per_class."""


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
    print(f"{name}: {metrics.images} images, each counted once")
    print(f"top-1 {metrics.top1:.2%}   top-5 {metrics.top5:.2%}   loss {metrics.loss:.4f}")
    return 0
