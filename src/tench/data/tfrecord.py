"""The former home of `tench.data.formats.tfrecord`: keeps scripts that import this path working."""

from tench.data.formats.tfrecord import (
    HEADER_BYTES,
    begins_with_record,
    examples,
    faults,
    inflated,
    is_compressed,
    is_record,
    keys,
    masked,
    masked_crc32c,
    place,
    records,
    verify,
)

__all__ = [
    "HEADER_BYTES",
    "begins_with_record",
    "examples",
    "faults",
    "inflated",
    "is_compressed",
    "is_record",
    "keys",
    "masked",
    "masked_crc32c",
    "place",
    "records",
    "verify",
]
