"""`tench predict`: names and probabilities for images."""

import csv
import dataclasses
import json
import sys
from typing import Annotated

import tyro

from tench.cli.parse import parse
from tench.own_code import import_from_here
from tench.printable import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict:
    """Classify images with a run's best weights, a weights file, or published weights.

    Folders are searched for images. An image that cannot be read is reported, the others are classified, and the exit
    code is 1. Example:

        tench predict runs/001 cat.jpg ~/holiday --top 3
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory, .safetensors file with model.json beside it, torchvision:NAME or timm:NAME[.TAG]."""
    images: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="IMAGE")]
    """Image files and folders of images."""
    top: int = 5
    """How many classes to show for each image."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    threads: Annotated[int, tyro.conf.arg(aliases=["-j", "--workers"])] = 0
    """Threads that read images; 0: one for each core."""
    trust_code: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Import the network of your own that the run names, from the current directory too. Importing runs its code."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a JSON list: image, predictions (id, name, probability)."""
    csv: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print CSV: image, rank, id, name, probability. A name that a spreadsheet would read as a formula begins with a
    quote (')."""


def run(arguments: list[str]) -> int:
    asked = parse(Predict, arguments)
    from tench.errors import UsageError
    from tench.evaluation.predict import predict
    from tench.files import spreadsheet_cell
    from tench.weights.load import load

    if asked.json and asked.csv:
        raise UsageError("--json and --csv exclude each other. Choose one.")
    if asked.trust_code:
        import_from_here()
    results = predict(
        load(asked.model, asked.device, trust_code=asked.trust_code), asked.images, top=asked.top, threads=asked.threads
    )
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
