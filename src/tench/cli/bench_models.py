"""`tench bench models`: the cost of networks on this device."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tench.cli.parse import parse
from tench.flags import Flag

if TYPE_CHECKING:
    from tench.bench.measure import Rate
    from tench.bench.models import ModelRow


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchModels:
    """Measure networks at their usual size: forward and training rates, memory, parameters, GMACs, known accuracies.

    Prints a Markdown table row by row; Ctrl-C keeps the finished rows. Examples:

        tench bench models
        tench bench models resnet50 'mobilenet_v*' -b 1 32 256 --plot networks.png
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "What to measure": "patterns batch-size precision device",
        "Output": "seconds plot csv json",
    }

    patterns: Annotated[tuple[str, ...], Flag(metavar="PATTERN", positional=True)] = ()
    """Names, or shell patterns in quotes. By default the networks of MXNet's benchmark_score.py that torchvision
    has."""
    batch_sizes: Annotated[
        tuple[int, ...],
        Flag(name="batch-size", aliases=("-b",), metavar="N ..."),
    ] = (1, 16)
    """Images per batch."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format. auto is bf16 if the hardware has it."""
    device: Annotated[str, Flag(metavar="DEVICE")] = "auto"
    """auto, cpu, cuda or cuda:1. auto is the GPU if there is one."""
    seconds: float = 2.5
    """Approximate time to measure each rate."""
    plot: Annotated[str | None, Flag(metavar="FILE.png")] = None
    """Plot the known accuracies against GMACs."""
    csv: Annotated[str | None, Flag(metavar="FILE")] = None
    """Also write the rows to this file."""
    json: bool = False
    """Print one JSON object. Keys: rows (name, batch_size, images_per_second of training, forward_images_per_second,
    ...)."""


def run(arguments: list[str]) -> int:
    asked = parse(BenchModels, arguments, command="bench models")
    from tench.bench.models import USUAL, bench_models, networks
    from tench.bench.texts import kept
    from tench.files import require_place, require_png

    if asked.csv:
        require_place(asked.csv, "the table")
    if asked.plot:
        from tench.bench.scatter import require_known

        require_png(asked.plot, "the plot")
        require_known(networks(asked.patterns or USUAL))
    rows: list[ModelRow] = []
    try:
        bench_models(
            asked.patterns,
            batch_sizes=asked.batch_sizes,
            precision=asked.precision,
            device=asked.device,
            seconds=asked.seconds,
            found=kept(rows, asked.csv, None if asked.json else _show),
        )
    finally:  # after Ctrl-C too, the finished rows are kept
        if rows:
            _finish(asked, rows)
    return 0


def _show(row: "ModelRow", is_first: bool) -> None:
    if is_first:
        print(
            "| network | pixels | parameters | GMACs | conv GMACs | batch | precision | forward, images/s "
            "| training, images/s | memory | top-1 (weights, source) |"
        )
        print("|---|--:|--:|--:|--:|--:|---|--:|--:|--:|---|")
    print("| " + " | ".join(_cells(row)) + " |", flush=True)


def _finish(asked: BenchModels, rows: "list[ModelRow]") -> None:
    from tench.bench.step import OUT_OF_MEMORY

    if asked.json:
        print(json.dumps({"rows": [row.to_json() for row in rows]}))
    else:
        for note in dict.fromkeys(rate for row in rows for rate in (row.forward, row.training)):
            if isinstance(note, str) and note != OUT_OF_MEMORY:
                print()
                print(note)
    if asked.plot:
        from tench.bench.scatter import scatter
        from tench.files import write_png

        known = [(info, one) for info, found in {row.info: row.accuracies for row in rows}.items() for one in found]
        if known:
            write_png(asked.plot, scatter(known), "the plot")


def _cells(row: "ModelRow") -> list[str]:
    from tench.files import size_text

    info, best = row.info, row.accuracies[0] if row.accuracies else None
    return [
        info.name,
        str(info.image_size),
        f"{info.parameters / 1e6:.3f} M",
        f"{info.gmacs:.4f}",
        f"{info.conv_gmacs:.4f}",
        str(row.batch_size),
        row.precision,
        *(_rate(rate) for rate in (row.forward, row.training)),
        "" if row.memory_bytes is None else size_text(row.memory_bytes),
        "" if best is None else f"{100 * best.top1:.2f} % ({best.weights}, {best.whose})",
    ]


def _rate(rate: "Rate | str") -> str:
    from tench.bench.step import OUT_OF_MEMORY
    from tench.bench.texts import figures

    if isinstance(rate, str):
        return rate if rate == OUT_OF_MEMORY else ""  # longer reasons are printed below the table
    return figures(rate.median)
