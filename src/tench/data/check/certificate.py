"""The saved result of a check: which images of a dataset are bad, for later training runs on the same content.

It is stored in the cache folder under the dataset's fingerprint, and is valid as long as the checked files have not
changed. For images in a folder this detects the same changes as the table does: a file overwritten in place with the
same number of bytes goes unnoticed. Images that could not be read are listed for another check, not as bad.
"""

import collections
import dataclasses
import datetime
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tench import __version__
from tench.data.cache import cache_folder
from tench.data.check.check import Bad, Report, Unreadable, look_again
from tench.data.check.containers import Damaged
from tench.data.check.duplicates import Group
from tench.data.table import Dataset, Stamp
from tench.errors import TenchError, counted
from tench.files import write_text
from tench.plain import read_json, typed

VERSION = 3
"""Version of the saved form. Other versions are ignored."""


@dataclasses.dataclass(frozen=True)
class Copies:
    """How many images a check found more than once.

    leaked: by split other than train, the images that are also in train. alike: the same for images that look like one
    in train, if the check looked for near duplicates. contradicting: images with a copy under another label. repeated:
    by split, the images that repeat an earlier one in it.
    """

    leaked: dict[str, int]
    alike: dict[str, int]
    contradicting: int
    repeated: dict[str, int]

    def sentences(self) -> list[str]:
        """Notes for training, one sentence each; empty if there are no duplicates."""
        found = [
            f"{counted(number, 'image')} of {split} {_is(number)} also in train"
            for split, number in self.leaked.items()
        ]
        found += [
            f"{counted(number, 'image')} of {split} {'looks' if number == 1 else 'look'} like one in train"
            for split, number in self.alike.items()
        ]
        if found:
            found[-1] += ", so the measured accuracy is too high"
        if self.contradicting:
            has = "has" if self.contradicting == 1 else "have"
            found.append(f"{counted(self.contradicting, 'image')} {has} a copy with a different label")
        found += [
            f"{counted(number, 'image')} of {split} {'duplicates' if number == 1 else 'duplicate'} another one there"
            for split, number in self.repeated.items()
        ]
        return [f"{one}." for one in found]


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


NO_COPIES = Copies({}, {}, 0, {})


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
    copies: Copies = NO_COPIES

    def sentence(self) -> str:
        """A log line for the start of training: "Checked on 2026-11-24: 60,000 images decoded, none is bad."."""
        copies = self.copies.sentences()
        listed = [*copies, "tench check SOURCE lists them."] if copies else []
        return " ".join([self._decoding(), *listed])

    def _decoding(self) -> str:
        if not self.bad and not self.damaged and not self.unreadable:
            return f"Checked on {self.date[:10]}: {counted(self.images, 'image')} decoded, none is bad."
        found = [f"{len(self.bad):,} of {counted(self.images, 'image')} {_is(len(self.bad))} bad"] if self.bad else []
        found += [f"{len(self.unreadable):,} could not be read"] if self.unreadable else []
        found += [f"damaged records or archive members: {len(self.damaged):,}"] if self.damaged else []
        return f"Checked on {self.date[:10]}: {'; '.join(found)} (tench check SOURCE lists them)."


def remember(dataset: Dataset, report: Report) -> Path:
    """Save the result of a check; returns the file. Raises OSError if the cache is not writable."""
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
        copies=_copies(report),
    )
    return _write(dataset, certificate)


def _copies(report: Report) -> Copies:
    contradicting = sum(len(group.images) for group in report.duplicates if group.contradicts)
    repeated: collections.Counter[str] = collections.Counter()
    for group in report.duplicates:
        for split, number in collections.Counter(image.split for image in group.images).items():
            repeated[split] += number - 1
    return Copies(_leaked(report.duplicates), _leaked(report.near or ()), contradicting, dict(+repeated))


def _leaked(groups: Iterable[Group]) -> dict[str, int]:
    """For each split other than train, how many of its images are in a group with a training image."""
    with_train = [group.images for group in groups if any(image.split == "train" for image in group.images)]
    return dict(collections.Counter(image.split for images in with_train for image in images if image.split != "train"))


def renewed(dataset: Dataset, certificate: Certificate) -> Certificate:
    """The certificate after rechecking the images that could not be read; it is saved. Raises OSError as `remember`
    does."""
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
    """The digest of a certificate's JSON, so that a damaged file does not mark the wrong images as bad."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def certificate_of(dataset: Dataset) -> Certificate | None:
    """The result of the last check of the same content; None if there is none, or if a file has changed since then."""
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
