import os
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.errors import error_of
from tests.support.files import tar_of, write_file

from tench.data.files.tar import BLOCK, is_tar, members
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

WHERE = "set.tar"


def pack(path: Path, files: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> Path:
    return write_file(path, tar_of(files, form))


def listing(path: Path, start: int = 0, end: int | None = None, limits: Limits = LIMITS) -> list[tuple[str, int, int]]:
    end = path.stat().st_size if end is None else end
    with path.open("rb") as file:
        return list(members(partial(os.pread, file.fileno()), start, end, WHERE, limits))


def refusal(path: Path, limits: Limits = LIMITS) -> str:
    return error_of(listing)(path, limits=limits)


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A header with fields that tarfile would not write."""
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(*records: bytes, kind: bytes = b"x") -> bytes:
    """A pax header with these "KEY=VALUE" records."""
    data = b""
    for record in records:
        length = len(record) + 3
        while len(b"%d" % length) + len(record) + 2 != length:
            length += 1
        data += b"%d %s\n" % (length, record)
    return header(b"pax", b"%011o\0" % len(data), kind) + data + bytes(-len(data) % BLOCK)


END = bytes(20 * BLOCK)


def expected(path: Path) -> Iterator[tuple[str, int, int]]:
    """The members of the archive according to Python's tarfile."""
    with tarfile.open(path) as tar:
        for member in tar:
            yield member.name + "/" * member.isdir(), member.offset_data, member.size if member.isfile() else 0


LONG = "a" * 120 + "/" + "b" * 150 + ".JPEG"
FILES = {"n01440764/1.JPEG": b"one", "empty": b"", "n2/2.JPEG": b"x" * 512, LONG: b"y" * 513, "\u00e9/\U0001f41f": b"z"}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_offsets_and_sizes_match_tarfile(tmp_path: Path, form: int) -> None:
    path = pack(tmp_path / "set.tar", FILES, form)
    assert listing(path) == list(expected(path))
    data = path.read_bytes()
    assert {name: data[offset : offset + size] for name, offset, size in listing(path)} == FILES


def test_a_ustar_name_in_two_parts_is_joined(tmp_path: Path) -> None:
    files = {"folder" * 20 + "/" + "name" * 20: b"1"}
    path = pack(tmp_path / "set.tar", files, tarfile.USTAR_FORMAT)
    assert [name for name, _, _ in listing(path)] == list(files)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("ab\u00e9\U0001f41f/.", min_size=1, max_size=300).filter(
            lambda name: not set(name.split("/")) & {"", ".", ".."}
        ),
        st.binary(max_size=1500),
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_any_names_and_sizes_match_tarfile(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], form: int
) -> None:
    path = pack(tmp_path_factory.mktemp("any") / "set.tar", files, form)
    assert listing(path) == list(expected(path))


def test_an_archive_inside_another_file_is_read_in_place(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner.tar", FILES).read_bytes()
    outer = pack(tmp_path / "outer.tar", {"first": b"1", "inner.tar": inner, "last": b"2"})
    _, (name, offset, size), _ = listing(outer)
    assert name == "inner.tar"
    data = outer.read_bytes()
    assert {name: data[at : at + n] for name, at, n in listing(outer, offset, offset + size)} == FILES


def test_sizes_past_eight_gigabytes_are_read(tmp_path: Path) -> None:
    """A sparse file: the second member follows 9 GB of zeros."""
    size, path = 9 * 10**9 // BLOCK * BLOCK, tmp_path / "set.tar"
    big, small = tarfile.TarInfo("big"), tarfile.TarInfo("small")
    big.size, small.size = size, 5
    with path.open("wb") as file:
        file.write(big.tobuf(tarfile.GNU_FORMAT))
        file.seek(size, os.SEEK_CUR)
        file.write(small.tobuf(tarfile.GNU_FORMAT) + b"small" + bytes(BLOCK - 5) + bytes(2 * BLOCK))
    assert listing(path) == [("big", BLOCK, size), ("small", size + 2 * BLOCK, 5)]


def test_a_leading_dot_is_removed_and_folders_are_listed(tmp_path: Path) -> None:
    (tmp_path / "set/cat").mkdir(parents=True)
    (tmp_path / "set/cat/1.jpg").write_bytes(b"1")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(tmp_path / "set", ".")
    assert [name for name, _, _ in listing(tmp_path / "set.tar")] == ["cat/", "cat/1.jpg"]


def test_an_old_archive_without_a_magic_word_is_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"old": b"data"})
    data = bytearray(path.read_bytes())
    data[156], data[257:265] = 0, bytes(8)
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:BLOCK])
    path.write_bytes(data)
    assert listing(path) == list(expected(path)) == [("old", BLOCK, 4)]


def test_an_archive_is_recognised_by_its_first_header(tmp_path: Path) -> None:
    head = pack(tmp_path / "set.tar", FILES).read_bytes()[:BLOCK]
    assert is_tar(head)
    assert not is_tar(head[:-1])
    assert not is_tar(bytes(BLOCK))
    assert not is_tar(b"\xff\xd8" + head[2:])


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "..", "a/.."])
def test_a_name_that_leads_outside_is_an_error(tmp_path: Path, name: str) -> None:
    assert refusal(pack(tmp_path / "set.tar", {"a": b"1", name: b"2"})) == (
        f"{WHERE}: the member {name!r} is outside the archive's own folder. Such an archive is not read. Pack it "
        f"again with relative names."
    )


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (b"Z", "of the unknown type 'Z'"),
    ],
)
def test_links_and_devices_are_an_error(tmp_path: Path, kind: bytes, what: str) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    assert refusal(tmp_path / "set.tar") == (
        f"{WHERE}: 'odd' (byte 0) is {what}. Only files and folders are read from archives. If you trust this one, "
        f"unpack it and pass the folder."
    )


def test_a_sparse_member_is_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("holes")
        info.pax_headers = {"GNU.sparse.major": "1"}
        tar.addfile(info)
    assert "'holes' (byte 1,024) is a sparse file" in refusal(tmp_path / "set.tar")


def test_an_archive_cut_short_anywhere_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"a/1.jpg": b"1" * 700, "b/2.jpg": b"2" * 100})
    whole = path.read_bytes()
    closing = 3 * BLOCK + 2 * BLOCK  # where the empty blocks at the end begin
    for length in range(0, closing + BLOCK, 37):
        path.write_bytes(whole[:length])
        found = refusal(path)
        assert found.startswith((f"{WHERE}: ", f"{WHERE} "))
        assert "truncated" in found
        assert f"{length:,}" in found
    path.write_bytes(whole[: closing + BLOCK])
    assert len(listing(path)) == 2


def test_every_flipped_bit_of_a_header_is_noticed(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"a/1.jpg": b"1" * 700, "b/2.jpg": b"2" * 100})
    whole, second = path.read_bytes(), 3 * BLOCK
    for position in [*range(0, 148, 7), *range(156, BLOCK, 11)]:
        data = bytearray(whole)
        data[second + position] ^= 4
        path.write_bytes(data)
        assert refusal(path) == (
            f"{WHERE}: byte {second:,} should begin the header of the next member, but its checksum does not match. "
            "The archive is damaged there or before. Copy or download it again."
        )


def test_a_wrong_size_is_an_error(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.size = 10**15
    (tmp_path / "set.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4 * BLOCK))
    found = refusal(tmp_path / "set.tar")
    assert found.startswith(f"{WHERE}: 'a' needs bytes 512-1,000,000,000,000,512, but the archive ends at 2,560.")


def test_a_second_archive_after_the_first_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"a": b"1"})
    once = path.read_bytes()
    path.write_bytes(once + once)
    assert f"{WHERE} closes at byte 1,024, but more data follows" in refusal(path)


def test_a_broken_extended_header_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {LONG: b"1"}, tarfile.PAX_FORMAT)
    path.write_bytes(path.read_bytes().replace(b" path=", b" path "))
    assert f"{WHERE}: the extended header at byte 0 cannot be read." in refusal(path)


@pytest.mark.parametrize(
    ("archive", "size"),
    [
        (header(b"cat/a.jpg", b"-0000001000\0"), "-512"),
        (extended(b"size=-1536") + header(b"cat/a.jpg", b"00000000000\0"), "-1,536"),
        (extended(b"size=-1536", kind=b"g") + header(b"cat/a.jpg", b"00000000000\0"), "-1,536"),
        (header(b"cat/a.jpg", (-1024).to_bytes(12, "big", signed=True)), "-1,024"),
        (header(b"pax", b"-0000002000\0", b"x"), "-1,024"),
        (header(b"pax", b"-0000002000\0", b"L"), "-1,024"),
    ],
)
def test_a_negative_size_is_an_error(tmp_path: Path, archive: bytes, size: str) -> None:
    """A negative size would lead back to a header that was already read, and reading would never end."""
    (tmp_path / "set.tar").write_bytes(archive + END)
    found = refusal(tmp_path / "set.tar")
    assert found.startswith(f"{WHERE}: '")
    assert found.endswith(f" has a size of {size} bytes. The archive is damaged. Copy or download it again.")


@pytest.mark.parametrize("size", [b"\x80" + b"\x7f" + b"\xff" * 10, b"\x80\0\0\0" + b"\x7f" + b"\xff" * 7])
def test_a_size_larger_than_any_disk_is_an_error(tmp_path: Path, size: bytes) -> None:
    (tmp_path / "set.tar").write_bytes(header(b"cat/a.jpg", size) + END)
    assert refusal(tmp_path / "set.tar").startswith(f"{WHERE}: 'cat/a.jpg' needs bytes 512-")
    content = header(b"cat/a.jpg", size) + END
    with pytest.raises(TenchError, match=f"{WHERE} ends before byte "):  # a compressed archive: its end is not known
        list(members(lambda length, offset: content[offset : offset + length], 0, None, WHERE))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_longer_than_a_path_is_an_error(tmp_path: Path, form: int) -> None:
    path = pack(tmp_path / "set.tar", {"cat/1.jpg": b"1", "a/" * 5000 + "1.jpg": b"2"}, form)
    assert refusal(path) == (
        f"{WHERE}: the name at byte 1,024 has 10,005 bytes; at most 4,096 are read. The archive is damaged or was "
        f"not made "
        f"from files. Pack it again from a folder."
    )


def test_an_extended_header_of_several_megabytes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(extended(b"comment=" + b"x" * 2**20) + header(b"a", b"00000000000\0") + END)
    assert refusal(tmp_path / "set.tar") == (
        f"{WHERE}: the extended header at byte 0 has 1,048,593 bytes; at most 1,048,576 are read. The archive is "
        f"damaged. Copy or download it again."
    )


@pytest.mark.parametrize(
    "records",
    [
        b"5 a=b",
        b"999 path=x\n",
        b"-9 path=x\n",
        b"0 path=x\n",
        b"x path=x\n",
        b"7 path\n",
        b"8 \xff=b\n\n",
        b"9" * 5000,
    ],
)
def test_an_invalid_extended_header_is_an_error(tmp_path: Path, records: bytes) -> None:
    data = header(b"pax", b"%011o\0" % len(records), b"x") + records + bytes(-len(records) % BLOCK)
    (tmp_path / "set.tar").write_bytes(data + header(b"a", b"00000000000\0") + END)
    assert refusal(tmp_path / "set.tar") == (
        f"{WHERE}: the extended header at byte 0 cannot be read. The archive is damaged. Copy or download it again."
    )


@pytest.mark.parametrize(
    "archive",
    [
        extended(b"path=cat/\0.jpg") + header(b"a", b"00000000000\0"),
        header(b"long", b"00000000010\0", b"L") + b"cat\0jpg\0".ljust(BLOCK, b"\0") + header(b"a", b"00000000000\0"),
    ],
)
def test_a_zero_byte_in_a_name_is_an_error(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "set.tar").write_bytes(archive + END)
    assert refusal(tmp_path / "set.tar") == (
        f"{WHERE}: the name at byte 0 has a zero byte in it. The archive is damaged. Copy or download it again."
    )


@pytest.mark.parametrize("name", [b"", b".", b"./"])
def test_a_file_without_a_name_is_an_error(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "set.tar").write_bytes(header(name, b"00000000000\0", b"7") + END)
    if name.endswith(b"/"):  # a folder in the format from before 1988: the archive's root
        assert listing(tmp_path / "set.tar") == []
    else:
        assert WHERE in refusal(tmp_path / "set.tar")


@pytest.mark.parametrize("name", ["C:/x.jpg", "c:\\x.jpg", "cat/..\\..\\x.jpg", "\\\\server\\x.jpg"])
def test_a_name_that_leads_outside_on_windows_is_an_error(tmp_path: Path, name: str) -> None:
    assert f"the member {name!r} is outside" in refusal(pack(tmp_path / "set.tar", {name: b"1"}))


def test_a_long_name_is_shortened_in_a_message(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"../" + "x" * 4000: b"1"})
    found = refusal(path)
    assert found.startswith(f"{WHERE}: the member '../xxxx")
    assert "'... (4,003 characters) is outside the archive's own folder." in found
    assert len(found) < 400
