import gzip
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.errors import error_of
from tests.support.tfrecords import field, framed, masked_crc, varint

from tench.data.formats import tfrecord
from tench.errors import TenchError

FILES = Path(__file__).parents[1] / "samples/tensorflow"
TRUTH: dict[str, list[dict[str, tuple[str, list[Any]]]]] = json.loads((FILES / "truth.json").read_text())
"""The output of TensorFlow's own reader for its files; see make_tensorflow.py."""
PLAIN = [name for name in TRUTH if not name.startswith("packed/")]


class Everything:
    """A set of requested keys that contains every key."""

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def payloads(data: bytes) -> list[bytes]:
    return [data[start:stop] for start, stop in tfrecord.records(io.BytesIO(data), "x")]


def features(payload: bytes, *in_place: str) -> dict[str, list[Any]]:
    ((_, found),) = tfrecord.examples(io.BytesIO(framed(payload)), "x", Everything(), in_place)
    return {key: list(values) for key, values in found.items()}


def refusal(data: bytes) -> str:
    """The error for a damaged file of Examples."""
    return error_of(list)(tfrecord.examples(io.BytesIO(data), "shard", Everything()))


def entry(key: str, value: bytes) -> bytes:
    return field(1, field(1, key.encode()) + field(2, value))


def bytes_list(*values: bytes) -> bytes:
    return field(1, b"".join(field(1, value) for value in values))


def test_checksums_and_records_follow_the_format() -> None:
    assert tfrecord.masked_crc32c(b"123456789") == 0xC78AB0E5
    assert tfrecord.masked_crc32c(b"") == 0xA282EAD8
    empty = bytes.fromhex("000000000000000029039807d8ea82a2")
    abc = bytes.fromhex("0300000000000000b099490e6162636e57f121")
    minimal = bytes.fromhex("0a1c0a1a0a11696d6167652f636c6173732f6c6162656c12051a030a0101")
    record = bytes.fromhex("1e00000000000000d9dc1232") + minimal + bytes.fromhex("f0cc3d06")
    assert payloads(empty + abc + record + empty) == [b"", b"abc", minimal, b""]
    tfrecord.verify(io.BytesIO(empty + abc + record + empty), "x")
    assert features(minimal) == {"image/class/label": [1]}
    assert (framed(b""), framed(b"abc"), framed(minimal)) == (empty, abc, record)


@pytest.mark.parametrize("name", PLAIN)
def test_every_feature_matches_what_tensorflow_reads(name: str) -> None:
    with (FILES / name).open("rb") as file:
        found = [record for _, record in tfrecord.examples(file, name, Everything())]
    assert len(found) == len(TRUTH[name])
    for ours, theirs in zip(found, TRUTH[name], strict=True):
        expected = {key: values for key, (kind, values) in theirs.items() if kind}
        shown = {key: [_shown(value) for value in values] for key, values in ours.items()}
        assert shown == expected


def _shown(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    return value.decode() if len(value) < 64 else hashlib.sha256(value).hexdigest()


@pytest.mark.parametrize("name", PLAIN)
def test_both_checksums_of_tensorflows_files_match(name: str) -> None:
    with (FILES / name).open("rb") as file:
        tfrecord.verify(file, name)


@pytest.mark.parametrize("key", ["image/encoded", "image"])
def test_values_requested_in_place_are_at_the_returned_positions(key: str) -> None:
    sizes = []
    for name in PLAIN:
        data = (FILES / name).read_bytes()
        for (_, record), theirs in zip(
            tfrecord.examples(io.BytesIO(data), name, {key}, {key}), TRUTH[name], strict=True
        ):
            if key in theirs:
                ((start, stop),) = record[key]
                assert [_shown(data[start:stop])] == theirs[key][1]
                sizes.append(stop - start)
            assert record.keys() <= {key}
    assert min(sizes) < 1000
    assert max(sizes) > 2000
    assert len(sizes) in (24, 15)


def test_an_image_that_is_not_requested_is_skipped_without_reading_it() -> None:
    class Counting(io.BytesIO):
        num_read = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.num_read += len(data)
            return data

    image = entry("image/encoded", bytes_list(bytes(10**6)))
    rest = entry("image/class/label", field(3, field(1, b"\x07"))) + entry("image/filename", bytes_list(b"a.jpg"))
    file = Counting(framed(*[field(1, image + rest), field(1, rest + image)] * 5))
    wanted = {"image/encoded", "image/class/label", "image/filename"}
    found = list(tfrecord.examples(file, "x", wanted, {"image/encoded"}))
    assert len(found) == 10
    for (start, stop), record in found:
        assert record["image/class/label"] == (7,)
        assert record["image/filename"] == [b"a.jpg"]
        ((first, last),) = record["image/encoded"]
        assert start < first < last <= stop
        assert last - first == 10**6
    assert file.num_read < 20 * 5000


def test_a_large_feature_that_is_not_requested_is_not_parsed() -> None:
    large = entry("mask", field(3, field(1, b"\x80" * 10**6)))  # unreadable: a number without an end
    wanted = entry("label", field(3, b"\x08\x02"))
    ((_, found),) = tfrecord.examples(io.BytesIO(framed(field(1, large + wanted))), "x", {"label"})
    assert found == {"label": (2,)}
    assert "a number has no end" in refusal(framed(field(1, large + wanted)))


def test_keys_of_a_payload_are_listed() -> None:
    payload = field(1, entry("b", bytes_list(b"x")) + entry("a", b"") + entry("b", b""))
    assert tfrecord.keys(io.BytesIO(b"..." + payload), 3, 3 + len(payload)) == ["a", "b"]


@st.composite
def _lists(draw: st.DrawFn) -> tuple[bytes, list[Any]]:
    """(a Feature in one of its possible encodings, its values)"""
    kind = draw(st.sampled_from([1, 2, 3]))
    parts: list[bytes] = []
    values: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        if kind == 1:
            value = draw(st.binary(max_size=3) | st.integers(0, 2000).map(bytes))
            parts.append(field(1, value))
            values.append(value)
            continue
        numbers = st.floats(width=32, allow_nan=False) if kind == 2 else st.integers(-(2**63), 2**63 - 1)
        few: Sequence[Any] = draw(st.lists(numbers, max_size=4))
        packed = draw(st.booleans())
        encoded = [struct.pack("<f", value) if kind == 2 else varint(value) for value in few]
        tag = b"\x0d" if kind == 2 else b"\x08"
        parts.append(field(1, b"".join(encoded)) if packed else b"".join(tag + one for one in encoded))
        values += few
    cut = draw(st.integers(0, len(parts)))  # a list may be given in two parts
    split = [b"".join(parts[:cut]), b"".join(parts[cut:])]
    whole = b"".join(field(kind, part) for part in (split if draw(st.booleans()) else [b"".join(parts)]))
    return draw(_unknown) + whole + draw(_unknown), values


_unknown = st.sampled_from([b"", field(9, b"?"), varint(9 << 3) + b"\x80\x01", b"\x4d1234", b"\x4912345678"])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text(max_size=3) | st.just("k" * 1500), _lists(), max_size=5),
    st.randoms(use_true_random=False),
    _unknown,
)
def test_any_order_packing_and_split_give_the_same_values(
    written: dict[str, tuple[bytes, list[Any]]], random: Any, unknown: bytes
) -> None:
    items = [(key, value, values) for key, (value, values) in written.items()]
    random.shuffle(items)
    entries = []
    for key, value, _ in items:
        parts = [field(1, key.encode()), field(2, value), unknown]
        random.shuffle(parts)
        entries.append(field(1, b"".join(parts)))
    joined = random.choice([field(1, b"".join(entries)), b"".join(field(1, one) for one in entries)])
    payload = unknown + joined + unknown
    assert features(payload) == {key: values for key, _, values in items}

    start = 12  # where the payload begins in a file of one record
    in_place = features(payload, *written)
    for key, _, values in items:
        if values and isinstance(values[0], bytes):
            assert [payload[first - start : last - start] for first, last in in_place[key]] == values
        else:
            assert in_place[key] == values


def test_the_last_entry_of_a_repeated_key_is_used_and_a_key_without_a_list_is_absent() -> None:
    one, two = entry("a", field(3, b"\x08\x01")), entry("a", field(3, b"\x08\x02"))
    assert features(field(1, one + two)) == {"a": [2]}
    assert features(field(1, one + entry("a", b""))) == {}
    assert features(field(1, one + entry("a", field(3, b"")))) == {"a": []}


def test_of_two_kinds_of_lists_only_the_last_is_used() -> None:
    floats, ints = field(2, field(1, struct.pack("<f", 1))), field(3, field(1, b"\x05"))
    assert features(field(1, entry("a", floats + ints))) == {"a": [5]}
    assert features(field(1, entry("a", ints + floats))) == {"a": [1.0]}
    assert features(field(1, entry("a", ints + floats + ints))) == {"a": [5]}


DAMAGED = {
    "a field has the unknown wire type 3": b"\x0b\x0c",
    "a field has the unknown wire type 7": b"\x0f\x01",
    "a field has the invalid number 0": b"\x02\x00",
    "a field has the invalid number 536,870,912": varint(2**32) + b"\x00",
    "a field ends 3 bytes after the message that contains it": b"\x0a\x05ab",
    "a field ends 1 bytes after the message that contains it": field(1, field(1, b"\x0a\x02k")),
    "a field ends 4 bytes after the message that contains it": b"\x4d",
    "a number has no end": b"\x0a\x80",
    "a list of floats has 6 bytes, which is not a multiple of 4": field(1, entry("a", field(2, field(1, b"123456")))),
    "'utf-8' codec can't decode byte 0xff": field(1, field(1, field(1, b"\xff"))),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_payload_that_is_not_an_example_is_an_error_with_its_record_and_byte(what: str) -> None:
    found = refusal(framed(b"", field(1, b"")) + framed(DAMAGED[what]))
    expected = f"shard: record 2 (counted from 0, at byte 34) is not a readable tf.train.Example: {what}"
    assert found.startswith(expected)


def test_varints_of_more_than_ten_bytes_are_refused() -> None:
    assert features(field(1, entry("a", field(3, b"\x08" + b"\xff" * 9 + b"\x01")))) == {"a": [-1]}
    found = refusal(framed(field(1, entry("a", field(3, b"\x08" + b"\xff" * 10 + b"\x01")))))
    assert "a number has no end" in found


SMALL = framed(b"", b"abc", field(1, entry("label", field(3, b"\x08\x02"))))
BOUNDARIES = [0, 16, 35, len(SMALL)]


@pytest.mark.parametrize("length", range(len(SMALL) + 1))
def test_a_file_truncated_anywhere_but_after_a_record_is_an_error(length: int) -> None:
    if length in BOUNDARIES:
        assert len(payloads(SMALL[:length])) == BOUNDARIES.index(length)
        return
    number = sum(boundary <= length for boundary in BOUNDARIES) - 1
    place = f"x: record {number} (counted from 0, at byte {BOUNDARIES[number]})"
    for check in (payloads, lambda data: tfrecord.verify(io.BytesIO(data), "x")):
        with pytest.raises(TenchError) as error:
            check(SMALL[:length])
        assert str(error.value).startswith(place)
        assert "truncated" in str(error.value)


def test_the_error_for_a_truncated_file_says_how_much_there_is() -> None:
    header, data = refusal(framed(b"", b"abc")[:25]), refusal(framed(b"", b"abc")[:34])
    assert header == (
        "shard: record 1 (counted from 0, at byte 16) has 9 bytes, less than the 12 of its header: the file was "
        "probably truncated. Copy, download or convert it again."
    )
    assert data == (
        "shard: record 1 (counted from 0, at byte 16) needs bytes 28-35, but the file ends at 34. It was probably "
        "truncated. Copy, download or convert it again."
    )


@pytest.mark.parametrize("position", range(len(SMALL)))
def test_any_changed_byte_is_found_by_its_checksum(position: int) -> None:
    number = sum(boundary <= position for boundary in BOUNDARIES) - 1
    for bit in (1, 128):
        damaged = bytearray(SMALL)
        damaged[position] ^= bit
        with pytest.raises(TenchError) as error:
            tfrecord.verify(io.BytesIO(damaged), "x")
        text = str(error.value)
        assert text.startswith(f"x: record {number} (counted from 0, at byte {BOUNDARIES[number]}): the checksum of ")
        if position - BOUNDARIES[number] < 12:
            with pytest.raises(TenchError, match="the checksum of its length does not match, so the file is damaged"):
                payloads(bytes(damaged))
        else:
            assert "bytes of data does not match" in text
            assert len(payloads(bytes(damaged))) == 3  # the checksum of the data is checked by `verify` only


@pytest.mark.parametrize(("length", "number"), [(2, 2), (4, 2), (0, 2), (300, 1), (2**63, 1), (2**64 - 1, 1)])
def test_a_wrong_length_is_an_error_even_if_its_own_checksum_matches(length: int, number: int) -> None:
    header = struct.pack("<Q", length)
    lying = header + masked_crc(header) + framed(b"abc")[12:]
    data = framed(b"") + lying + framed(b"end" * 9)
    with pytest.raises(TenchError, match=rf"^x: record {number} \(counted from 0, at byte "):
        payloads(data)
    with pytest.raises(TenchError, match=r"^x: record 1 \(counted from 0, at byte 16\)"):
        tfrecord.verify(io.BytesIO(data), "x")


def test_large_payloads_are_verified_in_blocks() -> None:
    data = framed(bytes(range(256)) * 9000, b"x" * 2**20, b"")
    tfrecord.verify(io.BytesIO(data), "x")
    damaged = bytearray(data)
    damaged[2_000_000] ^= 1
    with pytest.raises(TenchError, match=r"record 0 .* the checksum of its 2,304,000 bytes of data does not match"):
        tfrecord.verify(io.BytesIO(damaged), "x")


def test_every_record_with_changed_data_is_reported() -> None:
    data = bytearray(framed(b"first", b"second", b"third"))
    data[12] ^= 1
    data[-6] ^= 1
    found = list(tfrecord.faults(io.BytesIO(data), "x"))
    assert [fault.partition(" (")[0] for fault in found] == ["x: record 0", "x: record 2"]
    with pytest.raises(TenchError, match=r"^x: record 0 "):
        tfrecord.verify(io.BytesIO(data), "x")


def inflated(data: bytes) -> bytes:
    return b"".join(tfrecord.inflated(io.BytesIO(data), "shard"))


@pytest.mark.parametrize("name", ["packed/train.tfrecord.gz", "packed/validation.tfrecord.zlib"])
def test_files_that_tensorflow_compressed_are_unpacked(name: str) -> None:
    packed = (FILES / name).read_bytes()
    assert tfrecord.is_compressed(packed[:4096])
    assert tfrecord.begins_with_record(packed[:4096])
    data = inflated(packed)
    found = [record for _, record in tfrecord.examples(io.BytesIO(data), name, Everything())]
    labels = [theirs["image/class/label"][1] for theirs in TRUTH[name]]
    assert [list(record["image/class/label"]) for record in found] == labels
    tfrecord.verify(io.BytesIO(data), name)


def test_compression_is_recognised_by_content() -> None:
    record = framed(b"abc")
    begins = {
        record: (False, True),
        record[:12]: (False, True),
        record[:11]: (False, False),
        b"": (False, False),
        gzip.compress(record): (True, True),
        gzip.compress(b"something else"): (True, False),
        zlib.compress(record): (True, True),
        zlib.compress(b"something else"): (False, False),
        b"\x78\x9c and no more": (False, False),
        b"\x1f\x8b": (True, False),
    }
    found = {head: (tfrecord.is_compressed(head), tfrecord.begins_with_record(head)) for head in begins}
    assert found == begins
    length = 0x8B1F  # its first bytes are those of gzip
    header = struct.pack("<Q", length)
    assert not tfrecord.is_compressed(header + masked_crc(header))


def test_large_members_and_zeros_between_and_after_them_are_unpacked() -> None:
    first, second = bytes(3_000_000), bytes(range(256)) * 5000
    packed = gzip.compress(first) + gzip.compress(b"") + bytes(512) + gzip.compress(second) + bytes(1024)
    assert inflated(packed) == first + second
    blocks = list(tfrecord.inflated(io.BytesIO(packed), "x"))
    assert max(map(len, blocks)) <= 2**20


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_compressed_file_truncated_anywhere_is_an_error_with_the_byte(pack: Any) -> None:
    packed = pack(framed(b"abc" * 50))
    for length in range(2, len(packed)):
        with pytest.raises(TenchError) as error:
            inflated(packed[:length])
        assert str(error.value) == (
            f"shard ends at byte {length:,} in the middle of its compressed data. It was probably truncated. Copy or "
            f"download it again."
        )
    assert inflated(packed) == framed(b"abc" * 50)


def test_damaged_or_trailing_bytes_of_a_compressed_file_are_an_error() -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 9))
    packed[-6] ^= 1
    with pytest.raises(
        TenchError, match=r"shard: its compressed data is damaged at byte 0 or after \(.*incorrect data"
    ):
        inflated(bytes(packed))
    whole = gzip.compress(b"abc")
    with pytest.raises(TenchError, match=rf"damaged at byte {len(whole)} or after \(.*incorrect header check"):
        inflated(whole + b"more")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_a_clear_error(data: bytes) -> None:
    nested = field(1, field(1, field(1, b"k") + field(2, data)))
    for file in (data, framed(data), framed(field(1, data)), framed(nested)):
        text = "shard: record 0 (counted from 0, at byte 0)"
        try:
            list(tfrecord.examples(io.BytesIO(file), "shard", Everything()))
        except TenchError as error:
            text = str(error)
        assert text.startswith("shard: record 0 (counted from 0, at byte 0)")
