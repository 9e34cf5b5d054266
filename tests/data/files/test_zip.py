import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.errors import error_of

from tench.data.files import zip as zips
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

WHERE = "set.zip"
PHOTO = bytes(range(256)) * 20
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def pack(files: dict[str, bytes], method: int = zipfile.ZIP_STORED, **changes: object) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # set afterwards, because zipfile would change backslashes
            info.compress_type = method
            for field, value in changes.items():
                setattr(info, field, value)
            archive.writestr(info, data)
    return sink.getvalue()


def opened(data: bytes, limits: Limits = LIMITS) -> zips.Archive:
    return zips.Archive(lambda length, offset: data[offset : offset + length], 0, len(data), WHERE, limits)


def contents(data: bytes, limits: Limits = LIMITS) -> dict[str, bytes]:
    archive, found = opened(data, limits), {}
    for member in zips.members(archive, []):
        if member.method == zips.STORED:
            begin = zips.start(archive, member)
            found[member.name] = data[begin : begin + member.num_bytes]
        else:
            found[member.name] = b"".join(zips.unpacked(archive, member))
    return found


def names(data: bytes) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    return [member.name for member in zips.members(opened(data), notes)], notes


refusal = error_of(contents)


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace a name with one of the same length that is not marked as UTF-8."""
    assert len(old) == len(new)
    return data.replace(old, new)


@pytest.mark.parametrize("method", METHODS)
def test_members_match_those_of_zipfile(method: int) -> None:
    files = {"cat/1.jpg": PHOTO, "cat/2.jpg": b"", "dog/": b"", "\u732b/\U0001f41f.jpg": b"x" * 100_000}
    data = pack(files, method)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert contents(data) == {name: archive.read(name) for name in archive.namelist()} == files


@pytest.mark.parametrize("method", METHODS)
def test_an_archive_after_other_bytes_is_read(method: int) -> None:
    data = pack({"cat/1.jpg": PHOTO}, method)
    assert contents(b"a self-extracting program" + data) == {"cat/1.jpg": PHOTO}
    assert contents(data[:-2] + b"\x05\0a note") == {"cat/1.jpg": PHOTO}  # the archive's comment


def test_zip64_is_read(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("big.bin", "w", force_zip64=True) as member:
            member.write(PHOTO)
        for number in range(66_000):
            archive.writestr(f"{number}", b"")
    data = sink.getvalue()
    assert len(names(data)[0]) == 66_001
    assert contents(data)["big.bin"] == PHOTO


def test_backslashes_separate_folders_in_an_archive_from_windows(tmp_path: Path) -> None:
    note = f"{WHERE}: 2 names with backslashes, which are read as folder separators."
    files = {"cat\\1.jpg": b"1", "dog\\2.jpg": b"2"}
    assert names(pack(files, create_system=0)) == (["cat/1.jpg", "dog/2.jpg"], [note])
    assert names(pack(files, create_system=3)) == (["cat/1.jpg", "dog/2.jpg"], [note])  # there is no other separator
    mixed = {"cat/1.jpg": b"1", "cat/2\\3.jpg": b"2"}
    assert names(pack(mixed, create_system=3)) == (["cat/1.jpg", "cat/2\\3.jpg"], [])  # part of a name on Unix
    assert names(pack(mixed, create_system=10))[0] == ["cat/1.jpg", "cat/2/3.jpg"]


def test_a_backslash_inside_a_japanese_character_is_not_a_separator() -> None:
    """In code page 932, the second byte of some characters is the byte of a backslash."""
    raw = "表/ねこ.jpg".encode("cp932")
    assert b"\\" in raw
    found, notes = names(renamed(pack({"Z" * len(raw): b"1"}), b"Z" * len(raw), raw))
    assert found == ["表/ねこ.jpg"]
    assert "code page cp932" in notes[0]


def test_the_unicode_path_of_info_zip_is_used() -> None:
    """Field 0x7075 applies only to the name whose CRC-32 it contains."""
    raw, path = b"\x8c\xa2.jpg", "犬.jpg".encode()
    for crc32, expected in ((zlib.crc32(raw), "犬.jpg"), (1, "î\u00f3.jpg")):
        extra = struct.pack("<HHBL", 0x7075, 5 + len(path), 1, crc32) + path
        data = renamed(pack({"ZZ.jpg": b"1"}, extra=extra), b"ZZ.jpg", raw)
        assert names(data)[0] == [expected]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "C:/x.jpg", "C:\\x.jpg", "cat\\..\\..\\x.jpg", ".."]
)
def test_a_name_that_leads_outside_is_an_error(name: str) -> None:
    assert "is outside the archive's own folder" in refusal(pack({name: b""}))


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (stat.S_IFLNK, "a symbolic link"),
        (stat.S_IFIFO, "a named pipe"),
        (stat.S_IFCHR, "a character device"),
        (stat.S_IFBLK, "a block device"),
        (stat.S_IFSOCK, "a socket"),
    ],
)
def test_links_and_devices_are_an_error(mode: int, what: str) -> None:
    assert refusal(pack({"odd": b"/etc/passwd"}, external_attr=mode << 16)) == (
        f"{WHERE}: 'odd' is {what}. Only files and folders are read from archives. If you trust this one, unpack it "
        f"and pass the folder."
    )


def test_one_flipped_byte_in_compressed_data_is_an_error_that_names_the_archive() -> None:
    for method in METHODS[1:]:
        whole = pack({"cat/1.jpg": PHOTO, "cat/2.jpg": PHOTO}, method)
        begin = 30 + len("cat/1.jpg")
        size = struct.unpack_from("<L", whole, 18)[0]
        for position in range(begin, begin + size, max(1, size // 40)):
            data = bytearray(whole)
            data[position] ^= 0xFF
            try:
                found = refusal(bytes(data))
            except pytest.fail.Exception:
                assert contents(bytes(data))["cat/1.jpg"] == PHOTO  # a bit without meaning
            else:
                assert found.startswith(f"{WHERE}: ")
                assert len(found) < 300


def field(data: bytes, offset: int, value: int, *, length: int = 2, local: bool = False) -> bytes:
    """Change a field of the first directory entry, or of the first local header."""
    begin = 0 if local else data.index(b"PK\x01\x02")
    return data[: begin + offset] + value.to_bytes(length, "little") + data[begin + offset + length :]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[:-22], "its end record is missing"),
        (lambda data: data[: data.index(b"PK\x01\x02")] + data[-22:], "its directory is outside the archive"),
        (lambda data: field(data, 28, 0x7FFF), "its directory is truncated"),
        (lambda data: field(data, 30, 0x7FFF), "its directory is truncated"),
        (lambda data: field(data, 28, 3), "entry 2 of its directory has no valid start"),
        (
            lambda data: field(data, 26, 0x7FFF, local=True),
            "'cat/1.jpg': its name in the header differs from that in the directory",
        ),
        (
            lambda data: field(data, 30, ord("b"), length=1, local=True),
            "'cat/1.jpg': its name in the header differs from that in the directory",
        ),
        (
            lambda data: field(data, 28, 0x7FFF, local=True),
            "'cat/1.jpg': its data extend beyond the end of the archive",
        ),
        (
            lambda data: field(data, 42, 2**31, length=4),
            "'cat/1.jpg': its header is not at the offset in the directory",
        ),
        (lambda data: field(data, 24, 2**31, length=4), "'cat/1.jpg': it is not compressed, but its two sizes differ"),
        (lambda data: field(data, 20, 2**31, length=4), "'cat/1.jpg': its data extend beyond the end of the archive"),
        (lambda data: field(field(data, 8, 0x800), 46, 0xD4, length=1), "the name b'\\xd4at/1.jpg' should be UTF-8"),
        (lambda data: data.replace(b"cat/1.jpg", b"cat/\0.jpg"), "the name 'cat/\\x00.jpg' has a zero character in it"),
        (lambda data: data[:-12] + b"\x05\0" + data[-10:], "its directory has 2 entries, but should have 5"),
    ],
)
def test_a_damaged_archive_is_an_error_that_says_what_is_wrong(change, why) -> None:  # type: ignore[no-untyped-def]
    data = change(pack({"cat/1.jpg": PHOTO, "dog/2.jpg": PHOTO}))
    found = refusal(data)
    assert found.startswith(f"{WHERE}: the zip archive is damaged or truncated ({why}")
    assert found.endswith("). Copy or download it again.")


def test_a_compression_that_python_does_not_support_is_an_error_with_the_remedy() -> None:
    for method, name in ((9, "Deflate64"), (93, "zstd"), (98, "PPMd"), (77, "method 77")):
        data = field(pack({"cat/1.jpg": PHOTO}), 10, method)
        assert refusal(data) == (
            f"{WHERE}: 'cat/1.jpg' is compressed with {name}, which is not supported. Unpack the archive (7-Zip reads "
            f"most methods) and pass the folder."
        )


def test_a_part_of_a_split_archive_is_an_error() -> None:
    data = pack({"cat/1.jpg": PHOTO})
    data = data[:-18] + b"\x02\0" + data[-16:]
    assert (
        refusal(data) == f"{WHERE} is one part of a split zip archive. Join its parts (zip -s 0) and pass the result."
    )


def test_an_archive_beyond_the_limits_is_an_error() -> None:
    data = pack({"cat/1.jpg": b"1", "dog/2.jpg": b"2"})
    assert refusal(data, Limits(members=1)) == f"{WHERE} has more than 1 members. Unpack it and pass a part."
    assert refusal(data, Limits(name_bytes=8)) == (
        f"{WHERE}: member 1 has a name of 9 bytes; at most 8 are read. Unpack the archive and pass the folder."
    )
    assert refusal(data, Limits(listing_bytes=100)) == (
        f"{WHERE}: the directory of the zip archive has 110 bytes; at most 100 are read. Unpack the archive and pass "
        f"the folder."
    )
    packed = pack({"cat/1.jpg": PHOTO}, zipfile.ZIP_LZMA)
    assert "'cat/1.jpg' needs 8,388,608 bytes of memory to unpack; at most 1,000,000 are used." in refusal(
        packed, Limits(dictionary_bytes=10**6)
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(METHODS), st.data())
def test_a_mutated_archive_is_read_or_refused_with_its_name(method: int, data: st.DataObject) -> None:
    whole = bytearray(pack({"cat/1.jpg": PHOTO[:600], "dog/\u00e9.jpg": b"x" * 50}, method))
    for _ in range(data.draw(st.integers(1, 4))):
        value = data.draw(st.sampled_from([0, 1, 8, 0x2F, 0x5C, 0x7F, 0x80, 0xFF]))
        whole[data.draw(st.integers(0, len(whole) - 1))] = value
    try:
        contents(bytes(whole), Limits(inflated_bytes=10**6))
    except TenchError as error:
        text = str(error)
    else:
        text = WHERE
    assert text.startswith(WHERE)
    assert len(text) < 500
