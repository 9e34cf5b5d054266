"""What to do about bad images before training or evaluation begins.

It is decided beforehand because a decision in the middle of an epoch would change the batches. The certificate of a
check says which images are bad; if there is none, the check runs once. A skipped image is removed from the table; a
fixed one has a flag, and is decoded as far as its data goes.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from tench.data.check.certificate import Certificate, certificate_of, remember, renewed
from tench.data.check.check import Bad, Report, Unreadable, check
from tench.data.handled import Handled, Policy
from tench.data.table import DAMAGED, Dataset, Table
from tench.errors import PassingError, TenchError, counted
from tench.machine import num_threads
from tench.progress import progress

_log = logging.getLogger("tench")


def apply(dataset: Dataset, bad: Policy, used: Sequence[str], *, threads: int = 0) -> tuple[Dataset, list[Handled]]:
    """Return the dataset after applying the policy, and what was done. It keeps the fingerprint of the whole dataset.

    used: the splits that will be read; bad images in the others are ignored. With `fail` nothing is decoded: a
    certificate that lists bad images is an error, a clean one is logged, and without one the first bad image stops the
    reader. Raises TenchError if the check itself fails.
    """
    found = certificate_of(dataset)
    if found is None and bad != "fail":
        _log.info("%s: not checked for bad images yet. Checking all images once.", dataset.source)
        with progress("check", dataset.num_images, "images") as advance:
            report = check(dataset, threads=num_threads(threads), progress=lambda count: advance(count, ""))
        remember(dataset, report)
        _require_files(dataset, report)
        found = certificate_of(dataset)
    elif found is not None and found.unreadable and bad != "fail":
        found = renewed(dataset, found)
    if found is None:
        return dataset, []
    _log.info("%s", found.sentence())
    if bad != "fail":
        _require_readable(dataset, [one for one in found.unreadable if one.split in used])
    if bad == "fail":
        _refuse(dataset, found, [one for one in found.bad if one.split in used])
        return dataset, []
    by_split: dict[str, list[Bad]] = {}
    for one in found.bad:
        if one.split not in used:
            continue
        by_split.setdefault(one.split, []).append(one)
    splits: dict[str, Table] = dict(dataset.splits)
    handled: list[Handled] = []
    for split, of_split in by_split.items():
        splits[split], done = _handled(dataset.splits[split], of_split, bad)
        handled += done
    if handled:
        num_skipped = sum(one["done"] == "skipped" for one in handled)
        num_fixed = len(handled) - num_skipped
        counts = (("left out", num_skipped), ("fixed", num_fixed))
        summary = ", ".join(f"{counted(count, 'bad image')} {what}" for what, count in counts if count)
        _log.info("--bad %s: %s.", bad, summary)
    return dataclasses.replace(dataset, splits=splits), handled


def _require_files(dataset: Dataset, report: Report) -> None:
    if report.unreadable_files:
        first = report.unreadable_files[0]
        raise PassingError(f"{first.file}: {first.reason} {dataset.source} cannot be checked without it.")


def _require_readable(dataset: Dataset, unreadable: Sequence[Unreadable]) -> None:
    """Raise PassingError if images cannot be read now, because then it is unknown whether they are bad."""
    if unreadable:
        raise PassingError(
            f"{unreadable[0].reason} {counted(len(unreadable), 'image')} of {dataset.source} cannot be read, so it is "
            "unknown whether they are bad. Make them readable, or remove them."
        )


def fingerprint(handled: Sequence[Handled]) -> str | None:
    """A hash of which images were left out or fixed, 16 hexadecimal digits; None if there were none."""
    if not handled:
        return None
    lines = sorted(f"{one['split']} {one['key']} {one['done']}" for one in handled)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _handled(table: Table, found: Sequence[Bad], bad: Policy) -> tuple[Table, list[Handled]]:
    row_of: Mapping[str, int] = {key: row for row, key in enumerate(table.keys())}
    handled = [
        Handled(
            split=one.split,
            row=row_of[one.key],
            key=one.key,
            file=one.file,
            reason=one.reason,
            done="fixed" if bad == "fix" and one.fixable else "skipped",
        )
        for one in found
    ]
    fixed = np.array([one["row"] for one in handled if one["done"] == "fixed"], np.int64)
    skipped = np.array([one["row"] for one in handled if one["done"] == "skipped"], np.int64)
    if len(fixed):
        table = table.flagged(fixed, DAMAGED)
    if len(skipped):
        table = table.subset(np.setdiff1d(np.arange(len(table)), skipped))
    return table, handled


def _refuse(dataset: Dataset, found: Certificate, bad: Sequence[Bad]) -> None:
    if bad:
        first = bad[0]
        rank = "the only bad image" if len(bad) == 1 else f"one of {len(bad):,} bad images"
        raise TenchError(
            f"{first.file}: {first.reason} ({first.split}, {first.key}). It is {rank} of "
            f"{dataset.source}, according to the check of {found.date[:10]}. Restore them, leave them out with --bad "
            f"skip, or "
            "decode JPEGs as far as they go with --bad fix."
        )
    if found.damaged:
        raise TenchError(
            f"{found.damaged[0].file}: {found.damaged[0].reason} (found by the check of {found.date[:10]}; all images "
            "decode). Restore the file, or use it unchanged with --bad skip."
        )
