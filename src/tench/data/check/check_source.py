"""`tench.check`: check a source by its path or name, and remember the result."""

from tench.arguments import checked_arguments
from tench.data.check.certificate import remember
from tench.data.check.check import Report, check
from tench.data.options import SourceOptions
from tench.data.source import Source, open_source
from tench.data.table import Dataset
from tench.machine import num_threads
from tench.progress import progress


@checked_arguments()
def check_source(
    source: Source, *, options: SourceOptions | None = None, near: bool = False, threads: int = 0
) -> Report:
    """Decode every image of a source once, and report what would stop or spoil training.

    source: a path or name, several that form one dataset, or a `Dataset`. Paths are read again, without the cache.
    options: how to read them. near: also look for near duplicates. threads: 0 means one per core.

    Checksums of published files, record CRCs and the image counts of known datasets are compared. The result is saved,
    and later training on the same content reports it. Raises UsageError and TenchError as `open_source` does; bad
    images are in the report, not raised.

    >>> report = tench.check("digits")
    >>> report.images, report.bad, report.stops_training
    (1797, (), False)
    """
    count = num_threads(threads)
    refresh = {} if isinstance(source, Dataset) else {"refresh": True}
    dataset = open_source(source, options, **refresh)
    with progress("check", dataset.num_images, "images") as advance:
        report = check(dataset, threads=count, near=near, progress=lambda checked: advance(checked, ""))
    remember(dataset, report)
    return report
