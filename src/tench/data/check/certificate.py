"""What a check leaves behind: which images of a dataset are bad, for whoever trains on the same content later.

It stands in the cache folder under the dataset's fingerprint, and holds as long as the files it was made from are as
they were. Of images in a folder that is as much as the table notices: one that was overwritten in place with as many
bytes is not seen.
"""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

from tench import __version__
from tench.data.cache import cache_folder
from tench.data.check.check import Bad, Report
from tench.data.check.containers import Damaged
from tench.data.table import Dataset, Stamp
from tench.files import write_text

VERSION = 1
"""Of the saved form. One of another version does not count."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The outcome of a check. date: UTC, ISO 8601. tench: the version that checked. odd: how many images, by kind."""

    fingerprint: str
    source: str
    stamp: Stamp
    date: str
    tench: str
    images: int
    bad: tuple[Bad, ...]
    damaged: tuple[Damaged, ...]
    odd: dict[str, int]

    def sentence(self) -> str:
        """For the start of a training: "Checked on 2026-11-24: 60,000 images decode, none is bad."."""
        if not self.bad and not self.damaged:
            return f"Checked on {self.date[:10]}: {self.images:,} images decode, none is bad."
        found = [f"{len(self.bad):,} of {self.images:,} images are bad"] if self.bad else []
        found += [f"damaged records or members of its files: {len(self.damaged):,}"] if self.damaged else []
        return f"Checked on {self.date[:10]}: {'; '.join(found)} (tench check SOURCE lists them)."


def remember(dataset: Dataset, report: Report) -> Path:
    """Keep the outcome of a check; returns the file. Raises OSError where the cache cannot be written."""
    certificate = Certificate(
        fingerprint=dataset.fingerprint,
        source=dataset.source,
        stamp=dataset.stamp,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tench=__version__,
        images=report.images,
        bad=report.bad,
        damaged=report.damaged,
        odd={kind: odd.count for kind, odd in report.odd.items()},
    )
    path = _path(dataset)
    write_text(path, json.dumps({"version": VERSION} | dataclasses.asdict(certificate), indent=1) + "\n")
    return path


def certificate_of(dataset: Dataset) -> Certificate | None:
    """What the last check of the same content found; None if there was none, or a file it read has changed since."""
    try:
        saved = json.loads(_path(dataset).read_text(encoding="utf-8"))
        if saved.pop("version") != VERSION:
            return None
        certificate = _certificate(saved)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    fresh = certificate.fingerprint == dataset.fingerprint and set(certificate.stamp) <= set(dataset.stamp)
    return certificate if fresh else None


def _certificate(saved: dict[str, Any]) -> Certificate:
    lists = {
        "stamp": tuple((path, size, time_ns) for path, size, time_ns in saved["stamp"]),
        "bad": tuple(Bad(**bad) for bad in saved["bad"]),
        "damaged": tuple(Damaged(**damaged) for damaged in saved["damaged"]),
    }
    return Certificate(**saved | lists)


def _path(dataset: Dataset) -> Path:
    return cache_folder() / "certificates" / f"{dataset.fingerprint}.json"
