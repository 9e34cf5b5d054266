"""Protocol buffer fields and TFRecord frames, byte by byte, as their specifications describe them.

Sources: https://protobuf.dev/programming-guides/encoding, tensorflow/core/lib/io/record_writer.h.
"""

import struct

import google_crc32c


def varint(number: int) -> bytes:
    """Seven bits per byte, lowest bits first. A negative number is written as its 64-bit two's complement."""
    number %= 2**64
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def masked_crc(data: bytes) -> bytes:
    """The CRC-32C as stored in TFRecords: rotated, plus a constant, little-endian."""
    crc: int = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def framed(*payloads: bytes) -> bytes:
    """A file with the payloads as records: the length, its checksum, the data, its checksum."""
    parts = []
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        parts += [length, masked_crc(length), payload, masked_crc(payload)]
    return b"".join(parts)
