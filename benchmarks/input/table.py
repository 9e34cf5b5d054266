"""Write the tables of the input benchmarks into results.md in this folder and into README.md.

Two comments mark the place of a table, and everything between them is replaced:

    <!-- input: originals -->
    <!-- input: end -->

The name is that of a table in loaders.json, or of another script in this folder with a JSON file. A table without
results stays unchanged.
Usage: python benchmarks/input/table.py
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGES = (HERE / "results.md", HERE.parents[1] / "README.md")
PLACE = re.compile(r"(<!-- input: (?!end)(\w+) -->\n).*?(<!-- input: end -->)", re.DOTALL)

OURS = "tench"
TITLES = {
    "originals": "original JPEGs, training view",
    "smaller": "JPEGs of at most 512 pixels",
    "pixels": "raw pixels, at most 256",
    "randaugment": "original JPEGs, with RandAugment",
    "evaluation": "original JPEGs, evaluation view",
}
DATA = {
    "folder": "class folders",
    "addressable": "class folders",
    "webdataset": "tar shards",
    "tfrecord": "TFRecord",
    "recordio": "RecordIO",
    "beton": "FFCV",
}


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table in `tables` inserted between its two comments."""
    return PLACE.sub(lambda place: f"{place[1]}{tables[place[2]]}{place[3]}" if place[2] in tables else place[0], page)


def all_tables(folder: Path) -> dict[str, str]:
    """The tables by name, made from the JSON files in the folder."""
    found = {}
    makers = {
        "loaders": loader_tables,
        "memory": memory_table,
        "epochs": epochs_table,
        "decode": decode_table,
        "training": training_table,
        "addressable": addressable_table,
    }
    for name, make in makers.items():
        path = folder / f"{name}.json"
        if path.exists():
            found.update(make(json.loads(path.read_text(encoding="utf-8"))))
    return found


def loader_tables(result: Mapping[str, Any]) -> dict[str, str]:
    tables = {name: loader_table(rows) for name, rows in result["tables"].items()}
    return tables | {"summary": summary_table(result["tables"])}


def summary_table(tables: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """One line for each table: our rate, then the others, the fastest first."""
    lines = ["| images, view | tench, images/s | others, images/s |", "|---|--:|---|"]
    for name, rows in tables.items():
        ours, *others = sorted(rows, key=lambda row: (row is not rows[0], -row["images_per_second"]["median"]))
        told = (
            f"{short(row)} {row['images_per_second']['median']:,.0f}" for row in others if OURS not in row["loader"]
        )
        lines.append(f"| {TITLES[name]} | {ours['images_per_second']['median']:,.0f} | {', '.join(told)} |")
    return "\n".join(lines) + "\n"


def short(row: Mapping[str, Any]) -> str:
    plain = "" if "antialiased" in row["filter"] and "not antialiased" not in row["filter"] else " (not antialiased)"
    return row["loader"].replace(", ", " ") + plain


def loader_table(rows: list[Mapping[str, Any]]) -> str:
    first = rows[0]["loader"]
    heading = f"| loader | reads | resizes with | images per second | speed-up of {first} |"
    lines = [heading, "|---|---|---|--:|--:|"]
    for row in rows:
        stored, _, side = row["data"].partition("-")
        reads = f"{DATA[stored]}, {side} pixels" if side else DATA[stored]
        rate, ratio = spread(row["images_per_second"], ",.0f"), spread(row["first_times_as_fast"], ".2f")
        lines.append(f"| {row['loader']} | {reads} | {row['filter']} | {rate} | {'' if row is rows[0] else ratio} |")
    return "\n".join(lines) + "\n"


def memory_table(result: Mapping[str, Any]) -> dict[str, str]:
    lines = ["| loader | idle, MB | above idle, largest, MB | above idle, median, MB |", "|---|--:|--:|--:|"]
    for name, row in result["megabytes"].items():
        columns = [spread(row[column], ",.0f") for column in ("idle", "largest_above_idle", "median_above_idle")]
        lines.append(f"| {name} | {' | '.join(columns)} |")
    return {"memory": "\n".join(lines) + "\n"}


def epochs_table(result: Mapping[str, Any]) -> dict[str, str]:
    last = f"after epoch {result['epochs']}"
    lines = [f"| after epoch 1, MB | {last}, MB | largest, MB | last to first |", "|--:|--:|--:|--:|"]
    names = ("first_megabytes", "last_megabytes", "largest_megabytes", "last_to_first")
    lines.append(f"| {' | '.join(str(result[name]) for name in names)} |")
    return {"epochs": "\n".join(lines) + "\n"}


def decode_table(result: Mapping[str, Any]) -> dict[str, str]:
    lines = [
        "| decode | ms per view | mean difference | mean for parts of twice the view | largest difference |",
        "|---|--:|--:|--:|--:|",
    ]
    for choice, row in result["choices"].items():
        columns = (row["mean_difference"], row["mean_difference_of_large_parts"], row["largest_difference"])
        lines.append(f"| {choice} | {spread(row['milliseconds'], '.2f')} | {' | '.join(map(str, columns))} |")
    return {"decode": "\n".join(lines) + "\n"}


def addressable_table(result: Mapping[str, Any]) -> dict[str, str]:
    lines = [
        "| photographs | MB | relative size with markers | milliseconds per crop without | with | speed-up |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, title in (("originals", "originals"), ("smaller", "at most 512 pixels, quality 90")):
        row = result[name]
        times = (spread(row[f"milliseconds_{which}"], ".2f") for which in ("without", "with"))
        columns = (row["megabytes"], row["bytes_with_markers"], *times, spread(row["times_as_fast"], ".2f"))
        lines.append(f"| {title} | {' | '.join(map(str, columns))} |")
    return {"addressable": "\n".join(lines) + "\n"}


def training_table(result: Mapping[str, Any]) -> dict[str, str]:
    rates = result["images_per_second"]
    lines = [
        "| network | images per second from files | on one synthetic batch | ratio |",
        "|---|--:|--:|--:|",
    ]
    columns = (
        spread(rates["files"], ".1f"),
        spread(rates["made_up"], ".1f"),
        spread(result["files_to_made_up"], ".3f"),
    )
    lines.append(f"| {result['arch']}, {result['precision']} | {' | '.join(columns)} |")
    return {"training": "\n".join(lines) + "\n"}


def spread(summary: Mapping[str, float], form: str) -> str:
    """Median (smallest to largest)."""
    return "{:{form}} ({:{form}} to {:{form}})".format(summary["median"], summary["min"], summary["max"], form=form)


def main() -> None:
    tables = all_tables(HERE)
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
