"""The result of `tench bench input`: the numbers from which the verdict, table, chart and JSON are made."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tench.bench.cold import Cold
from tench.bench.measure import Rate

READ_COLD, READ, DECODE, VIEW, WHOLE_COLD, WHOLE, RESIDENT, STEP = STAGES = (
    "read-cold",
    "read",
    "decode",
    "view",
    "whole-cold",
    "whole",
    "resident",
    "step",
)
"""read: bytes. decode: bytes and the whole image. view: bytes and the training view. whole: the loader's batches.
resident: batches of a small set that training keeps in memory. step: forward, backward and update of a network. cold:
after dropping the files' bytes from the page cache."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One rate. memory_bytes: the peak above what the process used before; None if it was not measured."""

    stage: str
    threads: int
    rate: Rate
    memory_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Remedy:
    """What `tench prepare` with these options would gain: the loader before and after, measured in turns.

    room: the bytes of the images as a fraction of their present bytes.
    """

    options: str
    before: Rate
    after: Rate
    room: float

    @property
    def gain(self) -> float:
        return self.after.median / self.before.median


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """All results. num_images: in the split. sampled: how many of them were measured. shares: each stage's fraction of
    an image's time in one thread, 0 to 1. step_batch: images in a batch of the network, 0 if there is none.
    """

    source: str
    split: str
    num_images: int
    sampled: int
    view: str
    image_size: int
    channels: int
    batch_size: int
    cores: int
    device: str
    is_resident: bool
    cold: Cold
    rows: Sequence[Row]
    shares: Mapping[str, float]
    remedies: Sequence[Remedy] = ()
    arch: str | None = None
    step_batch: int = 0

    def find(self, stage: str) -> Row | None:
        """The row of a stage; if there are several, the one with the most threads."""
        return max((row for row in self.rows if row.stage == stage), key=lambda row: row.threads, default=None)

    def ratio(self, row: Row) -> float | None:
        """The rate of the whole path relative to one thread's; None for other stages."""
        if row.stage != WHOLE:
            return None
        one = next((other for other in self.rows if other.stage == WHOLE and other.threads == 1), None)
        return row.rate.median / one.rate.median if one else None

    def command(self, remedy: Remedy) -> str:
        """The command for a remedy; if there are several sources, they are written as SOURCE."""
        source = "SOURCE" if " + " in self.source else shlex.quote(self.source)
        return f"tench prepare {source} DEST {remedy.options}"

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values; docs/bench.md explains the keys."""
        rows = [
            {
                "stage": row.stage,
                "threads": row.threads,
                **row.rate.to_json(),
                "ratio": None if (ratio := self.ratio(row)) is None else round(ratio, 3),
                "memory_bytes": row.memory_bytes,
            }
            for row in self.rows
        ]
        remedies = [
            {
                "command": self.command(remedy),
                **remedy.after.to_json(),
                "gain": round(remedy.gain, 3),
                "room": round(remedy.room, 3),
            }
            for remedy in self.remedies
        ]
        numbers = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("rows", "shares", "remedies")
        }
        shares = {stage: round(share, 4) for stage, share in self.shares.items()}
        return numbers | {"rows": rows, "shares": shares, "remedies": remedies}
