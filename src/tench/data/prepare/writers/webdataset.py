"""WebDataset shards: plain tars in which neighbouring members of one name make a sample, `cat/7.jpg` and `cat/7.cls`.

A sample's name ends at the first dot of the file name, so other dots become `_`, and names that then collide get a
number. If that happens, or if images have several labels or boxes, every sample also has a `.json` with the whole name,
the labels and the boxes. Headers are POSIX ustar, or GNU for long names; owner, time and mode are constant, so that
equal images produce equal files. Source: webdataset's tariterators.py; POSIX.1-2008, pax.
"""

import functools
import json
import tarfile
from collections.abc import Mapping, Sequence

from tench.data.files.tar import BLOCK
from tench.data.formats.class_files import text_of
from tench.data.prepare.writers import Content, ImageRecord

_ZEROS = bytes(BLOCK)
_MAX_NAME_BYTES = 100
"""The longest name that a plain header can contain."""


class WebDataset:
    """Samples of an image, its `.cls` if it has a label, and if there is more to store, its `.json`."""

    needs_info = False
    end = bytes(2 * BLOCK)

    def __init__(self, content: Content) -> None:
        self._content = content
        self._samples = {split: _samples(names) for split, names in content.names.items()}
        renamed = any(
            sample != name[: name.rfind(".")]
            for split, samples in self._samples.items()
            for sample, name in zip(samples, content.names[split], strict=True)
        )
        self._has_json = renamed or bool(content.several) or content.has_boxes

    def file_name(self, split: str, number: int) -> str:
        return f"{split}-{number:05}-of-{self._content.shards[split]:05}.tar"

    def frame(self, record: ImageRecord) -> Sequence[bytes]:
        sample, name = self._samples[record.split][record.row], self._content.names[record.split][record.row]
        label = self._content.labels[record.split][record.row]
        after = [_ZEROS[: -len(record.data) % BLOCK]]
        if label >= 0:
            after += _member(f"{sample}.cls", b"%d" % label)
        if self._has_json:
            described: dict[str, object] = {"filename": name} | ({"label": label} if label >= 0 else {})
            if record.split in self._content.several:
                described["labels"] = list(self._content.several[record.split][record.row])
            if record.boxes is not None:
                described["boxes"] = [list(box) for box in record.boxes]
            after += _member(f"{sample}.json", json.dumps(described).encode())
        # Three buffers: each further one costs the kernel more time than joining them here.
        return header(sample + name[name.rfind(".") :], len(record.data)), record.data, b"".join(after)

    def files_beside(self) -> Mapping[str, str]:
        return text_of(self._content.classes)


def _member(name: str, data: bytes) -> list[bytes]:
    return [header(name, len(data)), data, _ZEROS[: -len(data) % BLOCK]]


def header(name: str, size: int) -> bytes:
    """The header of a file in a tar: mode 644, owner 0, time 0."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) > _MAX_NAME_BYTES or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    start, rest, rest_sum = _fields()
    digits = b"%011o\0" % size
    total = sum(encoded) + sum(digits) + rest_sum
    return b"".join(
        (encoded, bytes(_MAX_NAME_BYTES - len(encoded)), start, digits, b"0" * 11, b"\0%06o\0 " % total, rest)
    )


@functools.cache
def _fields() -> tuple[bytes, bytes, int]:
    """The fields between name and size, those after the checksum, and the sum of all constant bytes of a header."""
    between = b"0000644\0" + b"0000000\0" * 2
    after = (b"0" + bytes(100) + b"ustar\0" + b"00").ljust(BLOCK - 156, b"\0")
    time_and_checksum = b"0" * 11 + b"\0" + b" " * 8
    return between, after, sum(between) + sum(after) + sum(time_and_checksum)


def _samples(names: Sequence[str]) -> list[str]:
    """A unique sample name for each image: without its suffix, and with other dots in the file name replaced."""
    samples = []
    for name in names:
        slash = name.rfind("/") + 1
        samples.append(name[:slash] + name[slash : name.rfind(".")].replace(".", "_"))
    taken, first = set(samples), dict[str, int]()
    for row, sample in enumerate(samples):
        if first.setdefault(sample, row) != row:
            other = f"{sample}_{row}"
            while other in taken:
                other += "_"
            taken.add(other)
            samples[row] = other
    return samples
