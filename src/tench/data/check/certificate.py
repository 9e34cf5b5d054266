"""The saved result of a check: which images of a dataset are bad, for later training on the same content.

It stands in the cache folder under the dataset's fingerprint, and holds as long as the files it was made from are as
they were. Of images in a folder that is as much as the table notices: one that was overwritten in place with as many
bytes is not seen. Images that could not be read are listed to be looked at again, and are not called bad.
"""

import dataclasses
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from tench import __version__
from tench.data.cache import cache_folder
from tench.data.check.check import Bad, Report, Unreadable, look_again
from tench.data.check.containers import Damaged
from tench.data.table import Dataset, Stamp
from tench.errors import TenchError
from tench.files import write_text
from tench.plain import read_json, typed

VERSION = 2
"""Version of the saved form. Other versions are ignored."""


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
    unreadable: tuple[Unreadable, ...] = ()

    def sentence(self) -> str:
        """For the start of a training: "Checked on 2026-11-24: 60,000 images decode, none is bad."."""
        if not self.bad and not self.damaged and not self.unreadable:
            return f"Checked on {self.date[:10]}: {self.images:,} images decode, none is bad."
        found = [f"{len(self.bad):,} of {self.images:,} images are bad"] if self.bad else []
        found += [f"{len(self.unreadable):,} could not be read then"] if self.unreadable else []
        found += [f"damaged records or members of its files: {len(self.damaged):,}"] if self.damaged else []
        return f"Checked on {self.date[:10]}: {'; '.join(found)} (tench check SOURCE lists them)."


def remember(dataset: Dataset, report: Report) -> Path:
    """Keep the outcome of a check; returns the file. Raises OSError if the cache is not writable."""
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
        unreadable=report.unreadable,
    )
    return _write(dataset, certificate)


def renewed(dataset: Dataset, certificate: Certificate) -> Certificate:
    """The certificate after another look at the images that could not be read; kept. Raises OSError as `remember`."""
    bad, unreadable = look_again(dataset, certificate.unreadable)
    new = dataclasses.replace(certificate, bad=(*certificate.bad, *bad), unreadable=tuple(unreadable))
    _write(dataset, new)
    return new


def _write(dataset: Dataset, certificate: Certificate) -> Path:
    content = dataclasses.asdict(certificate)
    path = _path(dataset)
    write_text(path, json.dumps({"version": VERSION, "digest": _digest(content)} | content, indent=1) + "\n")
    return path


def _digest(content: dict[str, Any]) -> str:
    """The digest of a certificate's JSON, so that a damaged file does not call other images bad."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def certificate_of(dataset: Dataset) -> Certificate | None:
    """The result of the last check of the same content; None if there is none, or a file has changed since."""
    try:
        saved = read_json(_path(dataset), dict[str, Any])
        version, digest = saved.pop("version", None), saved.pop("digest", None)
        if version != VERSION or digest != _digest(saved):
            return None
        certificate: Certificate = typed(saved, Certificate, "")
    except (OSError, ValueError, TenchError):
        return None
    fresh = certificate.fingerprint == dataset.fingerprint and set(certificate.stamp) <= set(dataset.stamp)
    return certificate if fresh else None


def _path(dataset: Dataset) -> Path:
    return cache_folder() / "certificates" / f"{dataset.fingerprint}.json"
