"""`tench predict`: print class names and probabilities for images."""

import csv
import dataclasses
import json
import sys
from typing import Annotated, ClassVar

from tench.cli.parse import parse
from tench.flags import Flag
from tench.own_code import import_from_here
from tench.printable import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict:
    """Classify images with a run's best weights, a weights file, or published weights.

    In a folder, all images are classified, also in subfolders and linked folders; files that are not images are counted
    on stderr. An image that cannot be read is reported, the others are still classified, and the exit code is 1.
    Example:

        tench predict runs/001 cat.jpg ~/holiday --top 3
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to classify": "model arch classes images",
        "Output": "top json csv",
        "Computation": "device threads | trust-code",
    }

    model: Annotated[str, Flag(metavar="RUN", positional=True)]
    """Run directory, published weights (torchvision:NAME or timm:NAME[.TAG]), a weights file (see tench weights),
    or an .onnx file from tench export."""
    images: Annotated[tuple[str, ...], Flag(metavar="IMAGE", positional=True)]
    """Image files and folders of images."""
    top: int = 5
    """Number of classes to print for each image."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    threads: Annotated[int, Flag(aliases=("-j", "--workers"))] = 0
    """Threads that read images; 0 is one per core."""
    arch: Annotated[str | None, Flag(aliases=("-a",), metavar="ARCH")] = None
    """The network of a file of another program, if the file does not name it."""
    classes: Annotated[str | None, Flag(metavar="FILE")] = None
    """The names of a model's classes if it has only numbers: a file that lists them in order, or imagenet."""
    trust_code: bool = False
    """Import your own network that the run names; it may be in the current directory. Importing runs its code."""
    json: bool = False
    """Print a JSON list. Keys: image, predictions (id, name, probability)."""
    csv: bool = False
    """Print CSV: image, rank, id, name, probability. A name that a spreadsheet would read as a formula is prefixed with
    a quote (')."""


def run(arguments: list[str]) -> int:
    asked = parse(Predict, arguments)
    from tench.errors import UsageError
    from tench.evaluation.predict import predict
    from tench.files import spreadsheet_cell
    from tench.weights.load import load

    if asked.json and asked.csv:
        raise UsageError("--json and --csv cannot be combined. Choose one.")
    if asked.trust_code:
        import_from_here()
    model = load(asked.model, asked.device, arch=asked.arch, classes=asked.classes, trust_code=asked.trust_code)
    results = predict(model, asked.images, top=asked.top, threads=asked.threads)
    bad = 0
    listed, table = [], csv.writer(sys.stdout, lineterminator="\n")
    if asked.csv:
        table.writerow(["image", "rank", "id", "name", "probability"])
    for result in results:
        if result.error is not None:
            print(f"tench predict: {printable(result.image)}: {printable(result.error)}", file=sys.stderr)
            bad += 1
        if asked.json:
            listed.append(result.to_json())
        elif asked.csv:
            for rank, guess in enumerate(result.predictions, start=1):
                named = map(spreadsheet_cell, (result.image, rank, guess.id, guess.name))
                table.writerow([*named, f"{guess.probability:.6f}"])
        elif result.error is None:
            guesses = "   ".join(f"{guess.name} {guess.probability:.1%}" for guess in result.predictions)
            print(f"{result.image}   {guesses}")
    if asked.json:
        print(json.dumps(listed))
    return 1 if bad else 0
