import contextlib
import gzip
import importlib.util
import io
import json
import os
import random
import struct
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.support import processes
from tests.support.files import flip_bit

from tench.data.files import gzip_index
from tench.data.files.compressed import Pread
from tench.data.files.gzip_index import IndexedGzip, build_index, open_indexed
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

STEP = 2**19  # the smallest step that rapidgzip uses for a small file
INDEXED = pytest.mark.skipif(
    importlib.util.find_spec("rapidgzip") is None, reason="needs the package rapidgzip (the extra interop)"
)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_index, "_STEP_BYTES", STEP)
    monkeypatch.setattr(gzip_index, "_PASS_BYTES", STEP)


@pytest.fixture(scope="module")
def big_tar() -> bytes:
    """3.5 MB: members that hardly compress, like photographs, and some that do."""
    rng = np.random.default_rng(0)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number in range(30):
            top = 240 if number % 5 else 4  # of 256 values: shrinks a little, or to a quarter
            info = tarfile.TarInfo(f"n{number % 7:08d}/{number}.JPEG")
            info.size = 100_000 + 977 * number
            tar.addfile(info, io.BytesIO(rng.integers(0, top, info.size, np.uint8).tobytes()))
    return sink.getvalue()


def bgzf(data: bytes) -> bytes:
    """Compress into many small members that store their sizes, as `bgzip` does. Source: SAM specification 4.1."""
    members = []
    for start in [*range(0, len(data), 65_280), len(data)]:
        part = data[start : start + 65_280]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = deflate.compress(part) + deflate.flush()
        header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
        members.append(header + body + struct.pack("<II", zlib.crc32(part), len(part)))
    return b"".join(members)


def joined(data: bytes) -> bytes:
    return b"".join(
        gzip.compress(data[start:end], level)
        for start, end, level in ((0, 10**6, 6), (10**6, 2 * 10**6, 9), (2 * 10**6, len(data), 1))
    )


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip -6": lambda data: gzip.compress(data, 6),
    "gzip -1": lambda data: gzip.compress(data, 1),
    "stored": lambda data: gzip.compress(data, 0),
    "joined": joined,
    "joined, the last one empty": lambda data: joined(data) + gzip.compress(b""),
    "bgzip": bgzf,
}


@pytest.fixture(scope="module")
def packed(big_tar: bytes) -> dict[str, bytes]:
    return {kind: pack(big_tar) for kind, pack in PACK.items()}


def all_of(pread: Pread) -> bytes:
    pieces, position = [], 0
    while piece := pread(300_000, position):
        assert len(piece) <= 300_000
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def nothing(pread: Pread) -> None:
    """Read nothing during the pass, so that build_index itself has to notice damage."""


def index_of(packed: bytes, folder: Path, limits: Limits = LIMITS) -> tuple[Path, Path]:
    path, index = folder / "photos.tar.gz", folder / "spool/photos.index"
    path.write_bytes(packed)
    build_index(path, index, nothing, limits)
    return path, index


def places(num_bytes: int, count: int) -> list[tuple[int, int]]:
    """(length, offset) of small and large ranges, across every step boundary and at random."""
    chosen = random.Random(0)
    borders = [(1000, border - 500) for border in range(STEP, num_bytes, STEP)]
    anywhere = [(chosen.choice((1, 512, 110_000, 2 * STEP)), chosen.randrange(num_bytes)) for _ in range(count)]
    return [*borders, *anywhere, (0, 5), (10, num_bytes - 4), (10, num_bytes), (10, num_bytes + 100), (num_bytes, 0)]


@INDEXED
@pytest.mark.parametrize("kind", list(PACK))
def test_any_range_equals_that_range_of_the_unpacked_bytes(
    kind: str, packed: dict[str, bytes], big_tar: bytes, tmp_path: Path
) -> None:
    path, index = tmp_path / "photos.tar.gz", tmp_path / "photos.index"
    path.write_bytes(packed[kind])
    assert build_index(path, index, all_of) == big_tar
    with open_indexed(path, index) as file:
        assert file.num_bytes == len(big_tar)
        for length, offset in places(len(big_tar), 40):
            assert file.pread(length, offset) == big_tar[offset : offset + length]


@INDEXED
@pytest.mark.parametrize("at_a_time", [13, 500_000])
def test_members_may_end_anywhere_in_a_read_chunk(
    at_a_time: int, packed: dict[str, bytes], big_tar: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, index = index_of(packed["bgzip"], tmp_path)
    monkeypatch.setattr(gzip_index, "_INPUT_BYTES", at_a_time)
    with open_indexed(path, index) as file:
        assert file.pread(len(big_tar), 0) == big_tar


@INDEXED
@pytest.mark.parametrize("data", [b"", b"a", bytes(20_000_000)], ids=["nothing", "one byte", "zeros"])
def test_empty_and_highly_compressed_files_are_indexed_too(data: bytes, tmp_path: Path) -> None:
    path, index = index_of(gzip.compress(data), tmp_path)
    with open_indexed(path, index) as file:
        assert file.pread(len(data) + 1, 0) == data


@INDEXED
def test_the_members_of_a_tar_are_listed_in_the_pass_that_builds_the_index(
    packed: dict[str, bytes], big_tar: bytes, tmp_path: Path
) -> None:
    def members(pread: Pread) -> list[tuple[str, int, int]]:
        """The members, with headers parsed by tarfile."""
        found, position = [], 0
        while (block := pread(512, position)) != bytes(512):
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            found.append((info.name, position + 512, info.size))
            position += 512 + -(-info.size // 512) * 512
        return found

    path, index = tmp_path / "photos.tar.gz", tmp_path / "photos.index"
    path.write_bytes(packed["gzip -6"])
    found = build_index(path, index, members)
    with tarfile.open(fileobj=io.BytesIO(big_tar)) as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    assert found == expected
    with open_indexed(path, index) as file:
        for _, offset, length in found:
            assert file.pread(length, offset) == big_tar[offset : offset + length]


@INDEXED
def test_the_file_is_read_once(packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_index, "decompressed", lambda *_: pytest.fail("the file was read a second time"))
    index_of(packed["gzip -6"], tmp_path)


@INDEXED
def test_the_pass_is_logged_before_it_begins(
    packed: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip_index, "num_cores", lambda: 3)
    with caplog.at_level("INFO", "tench"):
        path, index = index_of(packed["gzip -6"], tmp_path)
    assert caplog.messages == [
        f"{path}: gzip data (0.0 GB) can only be read from the start. Reading it once with 3 threads, to index it in "
        f"{index}."
    ]


@INDEXED
def test_the_log_says_that_a_file_of_several_members_is_read_twice(
    packed: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "tench"):
        path, _ = index_of(packed["joined"], tmp_path)
    assert caplog.messages[1:] == [
        f"{path} is truncated, or joined from several gzip members. Reading it again to find out."
    ]


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in its own process, without warnings."""
    return processes.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, arguments)])


@INDEXED
def test_another_process_reads_with_the_saved_index(packed: dict[str, bytes], big_tar: bytes, tmp_path: Path) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    code = """
        import sys, zlib
        from pathlib import Path
        from tench.data.files.gzip_index import open_indexed
        with open_indexed(Path(sys.argv[1]), Path(sys.argv[2])) as file:
            for place in sys.argv[3:]:
                print(zlib.crc32(file.pread(110_000, int(place))))
    """
    starts = [3_000_000, 0, 1_500_000, 3_400_000, 1_400_000]
    done = run(code, path, index, *starts)
    assert done.stderr == ""
    assert [int(line) for line in done.stdout.split()] == [zlib.crc32(big_tar[at : at + 110_000]) for at in starts]


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the pieces between index points, in the order in which they are decompressed."""
    numbers: list[int] = []
    inflate = IndexedGzip._inflate

    def counted(self: IndexedGzip, number: int) -> bytes:
        numbers.append(number)
        time.sleep(0.01)  # so that other threads ask for it in the meantime
        return inflate(self, number)

    monkeypatch.setattr(IndexedGzip, "_inflate", counted)
    return numbers


@INDEXED
@pytest.mark.parametrize("order", ["one after the other", "shuffled"])
@pytest.mark.parametrize("held_bytes", [1, gzip_index.HELD_BYTES])
def test_four_concurrent_threads_get_their_bytes(
    order: str, held_bytes: int, packed: dict[str, bytes], big_tar: bytes, tmp_path: Path, inflated: list[int]
) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    inflated.clear()
    wanted = [(20_000, offset) for offset in range(0, len(big_tar), 20_000)]
    if order == "shuffled":
        random.Random(0).shuffle(wanted)
    with open_indexed(path, index, held_bytes) as file, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: file.pread(*place), wanted))
    assert found == [big_tar[offset : offset + length] for length, offset in wanted]
    if held_bytes > 1:
        assert sorted(inflated) == list(range(max(inflated) + 1))  # each piece once, by any thread


@INDEXED
def test_the_most_recently_used_pieces_are_kept(packed: dict[str, bytes], tmp_path: Path, inflated: list[int]) -> None:
    path, index = index_of(packed["stored"], tmp_path)
    with open_indexed(path, index) as file:
        starts = list(file._points.starts)
    for held, expected in ((1, [0, 1, 0, 2, 0, 1, 2]), (2, [0, 1, 2, 1, 2]), (3, [0, 1, 2])):
        with open_indexed(path, index, (held * STEP * 11) // 10) as file:
            inflated.clear()
            for number in (0, 0, 1, 0, 2, 0, 1, 2):
                file.pread(1000, starts[number] + 5)
            assert inflated == expected


@INDEXED
def test_a_failed_piece_is_retried(packed: dict[str, bytes], big_tar: bytes, tmp_path: Path) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    with open_indexed(path, index, STEP) as file:
        os.truncate(path, 1_000_000)
        for _ in range(3):
            with pytest.raises(TenchError, match="the file ends before them"):
                file.pread(1000, 2_000_000)
        path.write_bytes(packed["gzip -6"])
        assert file.pread(1000, 2_000_000) == big_tar[2_000_000:2_001_000]
        assert file._held_bytes == sum(file._points.size(number) for number in file._held)


@pytest.mark.parametrize("bit", range(8))
def test_deflate_data_may_begin_at_any_bit(bit: int) -> None:
    chosen = random.Random(bit)
    window = chosen.randbytes(32_768)
    expected = window[:300] + chosen.randbytes(1000) + b"image" * 1000 + window[-300:]
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=window)
    data = deflate.compress(expected) + deflate.flush()
    before = chosen.randrange(1 << bit)  # bits before the data in its first byte
    shifted = (int.from_bytes(data, "little") << bit | before).to_bytes(len(data) + 1, "little")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=window)
    assert inflate.decompress(gzip_index._from_bit(bit, shifted)) == expected
    assert inflate.eof


DAMAGE: dict[str, list[Callable[[bytes], bytes]]] = {
    "truncated": [
        *(lambda data, part=part: data[: int(len(data) * part)] for part in (0.01, 0.2, 0.21, 0.5, 0.77, 0.999)),
        *(lambda data, cut=cut: data[:-cut] for cut in (1, 2, 4, 7, 8, 9, 20, 100)),
        lambda data: data[:15],
    ],
    "changed": [
        *(lambda data, part=part: flip_bit(data, int(len(data) * part), 3) for part in (0.001, 0.1, 0.33, 0.8, 0.99)),
        *(lambda data, place=place: flip_bit(data, -place) for place in range(1, 9)),  # the checksum and the size
        lambda data: flip_bit(data, 1),
    ],
    "followed by something": [
        lambda data: data + b"a",
        lambda data: data + b"abc",
        lambda data: data + b"something else that somebody put here",
        lambda data: data + data[-100:],
    ],
}


@INDEXED
@pytest.mark.parametrize("kind", ["gzip -6", "stored", "joined", "bgzip"])
@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_file_is_refused_and_leaves_no_index(
    damage: str, kind: str, packed: dict[str, bytes], tmp_path: Path
) -> None:
    for number, do in enumerate(DAMAGE[damage]):
        (tmp_path / f"{number}.gz").write_bytes(do(packed[kind]))
    code = """
        import sys
        from pathlib import Path
        from tench.data.files import gzip_index
        from tench.errors import TenchError
        gzip_index._STEP_BYTES = gzip_index._PASS_BYTES = 2**19
        for path in sys.argv[1:]:
            try:
                gzip_index.build_index(Path(path), Path(path + ".index"), lambda pread: None)
                print(path, "was taken")
            except TenchError as error:
                print(error)
    """
    paths = [tmp_path / f"{number}.gz" for number in range(len(DAMAGE[damage]))]
    done = run(code, *paths)
    assert "Traceback" not in done.stderr  # rapidgzip prints its own messages there
    assert done.returncode == 0
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        assert line.startswith((f"{path}: ", f"{path} "))
        assert any(words in line for words in ("are damaged", "was truncated", "cannot be opened")), line
    assert not list(tmp_path.glob("*.index*"))


@INDEXED
def test_damage_found_in_the_pass_is_reported_with_its_place(packed: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "photos.tar.gz"
    whole = packed["gzip -6"]
    path.write_bytes(whole[: len(whole) // 2] + bytes(1000) + whole[len(whole) // 2 + 1000 :])
    with pytest.raises(TenchError) as error:
        build_index(path, tmp_path / "index", nothing)
    text = str(error.value)
    assert text.startswith(f"{path}: the gzip data are damaged, truncated, or followed by other data at about byte ")
    assert f" of {len(whole):,} or before it (" in text
    assert text.endswith("). Copy or download it again.")


@INDEXED
def test_an_error_in_the_reader_ends_the_pass_at_once(
    packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip_index, "num_cores", lambda: 3)
    path = tmp_path / "photos.tar.gz"
    path.write_bytes(packed["gzip -6"][:-100])  # truncated, which would only be noticed at the end

    def read(pread: Pread) -> None:
        pread(512, 0)
        assert len(thread_ids() - before) == 3
        raise TenchError("no tar archive")

    settled_threads()
    before = thread_ids()  # some belong to earlier tests and may still end
    with pytest.raises(TenchError) as error:
        build_index(path, tmp_path / "index", read)
    assert str(error.value) == "no tar archive"
    settled_threads()
    assert thread_ids() <= before
    assert not (tmp_path / "index").exists()


@INDEXED
def test_it_is_an_error_if_rapidgzip_and_zlib_disagree_on_the_size(
    packed: dict[str, bytes], big_tar: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip_index, "decompressed", lambda *_: iter([(b"image", 10)]))
    with pytest.raises(TenchError) as error:
        index_of(packed["joined"], tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/photos.tar.gz: rapidgzip unpacks it to {len(big_tar):,} bytes, but zlib to 5: "
        "unpack it (tar -xzf) and pass the folder."
    )


@INDEXED
def test_a_file_that_expands_too_much_is_not_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_index, "_PASS_BYTES", 50_000)
    with pytest.raises(TenchError, match=r"more than 100 times as many\. Images do not compress this well"):
        index_of(gzip.compress(bytes(30_000_000)), tmp_path, Limits(inflated_bytes=10_000_000))


@INDEXED
def test_a_disk_without_room_for_the_index_is_an_error(
    packed: dict[str, bytes], big_tar: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def full(path: Path) -> Iterator[Path]:
        raise OSError(28, "No space left on device")
        yield path

    monkeypatch.setattr(gzip_index, "complete_file", full)
    path, index = tmp_path / "photos.tar.gz", tmp_path / "spool/photos.index"
    with pytest.raises(TenchError) as error:
        index_of(packed["gzip -6"], tmp_path)
    assert str(error.value) == f"{index}: the index of {path} cannot be written (No space left on device)."


def test_without_rapidgzip_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidgzip", None)
    path = tmp_path / "photos.tar.gz"
    with pytest.raises(TenchError) as error:
        index_of(gzip.compress(b"image"), tmp_path)
    assert str(error.value) == (
        f"{path}: a gzip file of this size is read with the package rapidgzip, which is not installed: "
        "pip install 'tench[interop]', or unpack it (tar -xzf) and pass the folder."
    )


@INDEXED
def test_a_file_that_changed_since_its_index_was_made_is_refused(packed: dict[str, bytes], tmp_path: Path) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    size, time_ns = path.stat().st_size, path.stat().st_mtime_ns
    os.utime(path, ns=(time_ns, time_ns + 1000))
    with pytest.raises(TenchError) as error:
        open_indexed(path, index)
    assert str(error.value) == (
        f"{path} has changed since its index {index} was made (then {size:,} bytes, now {size:,}, or another "
        f"modification time). "
        f"Restore it, or remove the index to rebuild it."
    )
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(time_ns, time_ns))
    with pytest.raises(TenchError, match=f"has changed since .* now {size + 4:,}"):
        open_indexed(path, index)
    path.unlink()
    with pytest.raises(TenchError, match=r"photos\.tar\.gz: cannot be read \(No such file"):
        open_indexed(path, index)


@INDEXED
def test_a_damaged_missing_or_outdated_index_is_refused(packed: dict[str, bytes], tmp_path: Path) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    saved = index.read_bytes()
    header, rest = saved.split(b"\n", 1)
    other = json.dumps(json.loads(header) | {"version": 0}).encode() + b"\n" + rest
    bad = [b"", b"12\n", b"{}\n", saved[:-1], saved[:50], flip_bit(saved, len(header) + 100), other, b"\xff" + saved]
    for content in bad:
        index.write_bytes(content)
        with pytest.raises(TenchError) as error:
            open_indexed(path, index)
        expected = f"{index} is not the index of {path}, or is damaged. Remove it to rebuild the index."
        assert str(error.value) == expected
    index.unlink()
    with pytest.raises(TenchError, match="is not the index of"):
        open_indexed(path, index)


@INDEXED
def test_an_unusable_index_is_noticed_when_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_index._Points, "window", lambda *_: bytes(32_768))
    text = b"".join(b"%d and what follows it\n" % number for number in range(1_000_000))
    with pytest.raises(TenchError) as error:
        index_of(gzip.compress(text), tmp_path)
    assert str(error.value).startswith(
        f"{tmp_path}/photos.tar.gz: cannot be indexed (reading through the index returns other data at byte "
    )
    assert str(error.value).endswith("): unpack it (tar -xzf) and pass the folder.")
    assert not (tmp_path / "spool").exists()


def test_an_index_in_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="the index is not in gztool's form"):
        gzip_index._Points(b"GZIDX" + bytes(100))


@INDEXED
def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    packed: dict[str, bytes], big_tar: bytes, tmp_path: Path
) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    with open_indexed(path, index) as file:
        os.truncate(path, path.stat().st_size // 2)
        assert file.pread(1000, 0) == big_tar[:1000]
        for offset in (len(big_tar) - 300_000, len(big_tar) - 10):
            with pytest.raises(TenchError) as error:
                file.pread(1000, offset)
            text = str(error.value)
            assert text.startswith(f"{path}: the gzip data from byte ")
            assert text.endswith(
                " on can no longer be read (the file ends before them). The file has been damaged or changed since "
                "its index "
                "was made: copy or download it again."
            )
        assert file.pread(1000, 2000) == big_tar[2000:3000]


@INDEXED
def test_reads_from_a_closed_file_or_at_negative_positions_are_refused(
    packed: dict[str, bytes], tmp_path: Path
) -> None:
    path, index = index_of(packed["gzip -6"], tmp_path)
    with open_indexed(path, index) as file:
        for place in ((-1, 0), (10, -1)):
            with pytest.raises(ValueError, match="offset and length must be at least 0, got "):
                file.pread(*place)
    file.close()
    with pytest.raises(ValueError, match=r"photos\.tar\.gz is closed"):
        file.pread(10, 0)


def thread_ids() -> set[str]:
    """The ids of all threads of the process if the system lists them, else of Python's threads."""
    tasks = Path("/proc/self/task")
    return (
        {task.name for task in tasks.iterdir()} if tasks.exists() else {str(one.ident) for one in threading.enumerate()}
    )


def threads_of_this_process() -> int:
    return len(thread_ids())


def settled_threads() -> int:
    """The number of threads, once all that are about to end (also from earlier tests) have ended."""
    count, same = threads_of_this_process(), 0
    while same < 5:
        time.sleep(0.02)
        before, count = count, threads_of_this_process()
        same = same + 1 if count == before else 0
    return count


@INDEXED
def test_no_thread_or_open_file_is_left(packed: dict[str, bytes], tmp_path: Path) -> None:
    before = settled_threads()
    path, index = index_of(packed["gzip -6"], tmp_path)
    file = open_indexed(path, index)
    file.pread(1000, 2_000_000)
    assert threads_of_this_process() == before
    descriptor = file._descriptor
    os.fstat(descriptor)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert not file._held
    another = open_indexed(path, index)
    descriptor = another._descriptor
    del another
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@INDEXED
@pytest.mark.parametrize("daemon", [False, True])
def test_a_process_ends_normally_with_a_file_left_open(daemon: bool, packed: dict[str, bytes], tmp_path: Path) -> None:
    code = """
        import sys, threading
        from pathlib import Path
        from tench.data.files import gzip_index
        file = gzip_index.open_indexed(Path(sys.argv[1]), Path(sys.argv[2]))
        print(len(file.pread(500_000, 2_000_000)))
        def read():
            while True:
                for offset in range(0, 3_400_000, 700_000):
                    file.pread(1000, offset)
        if sys.argv[3] == "True":
            threading.Thread(target=read, daemon=True).start()
    """
    done = run(code, *index_of(packed["gzip -6"], tmp_path), daemon)
    assert (done.stdout, done.stderr, done.returncode) == ("500000\n", "", 0)


@INDEXED
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_forked_process_can_read(packed: dict[str, bytes], big_tar: bytes, tmp_path: Path) -> None:
    code = """
        import os, sys, zlib
        from pathlib import Path
        from tench.data.files import gzip_index
        file = gzip_index.open_indexed(Path(sys.argv[1]), Path(sys.argv[2]))
        file.pread(10, 0)
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        print(zlib.crc32(file.pread(1_000_000, 1_500_000)))
    """
    done = run(code, *index_of(packed["gzip -6"], tmp_path))
    expected = str(zlib.crc32(big_tar[1_500_000:2_500_000]))
    assert (done.stdout.split(), done.stderr, done.returncode) == ([expected, expected], "", 0)
