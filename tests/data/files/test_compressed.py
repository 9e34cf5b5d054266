import bz2
import contextlib
import gzip
import io
import lzma
import random
import resource
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.errors import error_of
from tests.support.files import flip_bit
from tests.support.processes import DEADLINE_SECONDS

from tench.data.files import compressed
from tench.data.files.compressed import first_bytes, form_of, spool_compressed
from tench.data.limits import LIMITS, Limits
from tench.errors import TenchError

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True)),
}
FORMS = pytest.mark.parametrize("form", list(COMPRESS))
WHERE = "photos.tar.gz"


def unpacked(packed: bytes, folder: Path, limits: Limits = LIMITS) -> bytes:
    target = folder / "unpacked"
    num_bytes = spool_compressed(io.BytesIO(packed), WHERE, target, limits)
    assert num_bytes == target.stat().st_size
    return target.read_bytes()


def refusal(packed: bytes, folder: Path, limits: Limits = LIMITS) -> str:
    """The error for a file that cannot be unpacked, after checking that no part of it is left."""
    text = error_of(unpacked)(packed, folder, limits)
    assert list(folder.iterdir()) == []
    return text


@pytest.fixture(scope="module")
def photo_tar(photo_folder: Path) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.add(photo_folder, "photos")
    return sink.getvalue()


# Unpacking a whole file once


@FORMS
def test_the_compression_is_recognised_by_the_first_bytes(form: str) -> None:
    assert form_of(COMPRESS[form](b"images")[:6]) == form


def test_other_files_have_no_compression() -> None:
    assert [form_of(head) for head in (b"", b"\x1f", b"PK\3\4ab", b"photos/1.jpg")] == [None] * 4


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_unpacked_to_what_tarfile_reads(mode: str, photo_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / f"photos.tar.{mode}"
    with tarfile.open(path, f"w:{mode}") as tar:  # type: ignore[call-overload]
        tar.add(photo_folder, "photos")
    with path.open("rb") as file:
        spool_compressed(file, str(path), tmp_path / "spool/photos.tar")
    with tarfile.open(path) as packed, tarfile.open(tmp_path / "spool/photos.tar", "r:") as plain:
        assert plain.getnames() == packed.getnames()
        for member in (member for member in packed if member.isfile()):
            expected, found = packed.extractfile(member), plain.extractfile(member.name)
            assert expected is not None
            assert found is not None
            assert found.read() == expected.read()


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the program zstd")
def test_files_from_the_program_zstd_are_unpacked_and_verified(photo_tar: bytes, tmp_path: Path) -> None:
    done = subprocess.run(["zstd", "-c"], input=photo_tar, capture_output=True, check=True, timeout=DEADLINE_SECONDS)
    packed = done.stdout
    expected = f"{WHERE}: the zstd data are damaged or truncated at or before byte {len(packed):,} (ZSTD"
    assert refusal(flip_bit(packed, len(packed) - 1), tmp_path).startswith(expected)  # in the checksum
    assert unpacked(packed, tmp_path) == photo_tar


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(list(COMPRESS)),
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.integers(1, 50_000),
    st.integers(1, 3000),
)
def test_members_of_any_size_are_joined(form: str, parts: list[bytes], times: int, at_a_time: int) -> None:
    parts[0] *= times  # from incompressible data to data that shrinks a thousandfold
    file = io.BytesIO(b"".join(COMPRESS[form](part) for part in parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "_INPUT_BYTES", at_a_time)
        patch.setattr(compressed, "_OUTPUT_BYTES", 65_536)
        pieces = list(compressed.decompressed(file, WHERE))
    assert b"".join(piece for piece, _ in pieces) == b"".join(parts)
    assert all(0 < len(piece) <= 65_536 for piece, _ in pieces)
    positions = [position for _, position in pieces]
    assert positions == sorted(positions)
    assert not positions or positions[-1] <= len(file.getvalue())


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_zeros_after_the_last_member_are_left_out(form: str, photo_tar: bytes, tmp_path: Path) -> None:
    assert unpacked(COMPRESS[form](photo_tar) + bytes(100_000), tmp_path) == photo_tar


def test_highly_compressible_data_is_unpacked(tmp_path: Path) -> None:
    assert unpacked(gzip.compress(bytes(20_000_000)), tmp_path) == bytes(20_000_000)


@FORMS
def test_the_beginning_can_be_read_without_the_rest(form: str, photo_tar: bytes, tmp_path: Path) -> None:
    packed = COMPRESS[form](photo_tar)
    with io.BytesIO(packed) as file:
        assert first_bytes(file, 512) == photo_tar[:512]
        assert first_bytes(file, 10**9) == photo_tar
        spool_compressed(file, WHERE, tmp_path / "unpacked")  # the file's position is unchanged
    assert (tmp_path / "unpacked").read_bytes() == photo_tar
    assert photo_tar.startswith(first_bytes(io.BytesIO(packed[: len(packed) // 2]), 10**9))


def test_the_beginning_of_an_uncompressed_file_is_empty(photo_tar: bytes) -> None:
    assert first_bytes(io.BytesIO(photo_tar), 512) == b""
    assert first_bytes(io.BytesIO(), 512) == b""


def test_the_size_is_logged_before_unpacking(
    photo_tar: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "_members", lambda *_: iter(()))
    packed = gzip.compress(bytes(2_000_000) + random.Random(0).randbytes(300_000))
    with caplog.at_level("INFO", "tench"):
        spool_compressed(io.BytesIO(packed), WHERE, tmp_path / "photos.tar")
    assert caplog.messages == [
        f"{WHERE} is compressed (0.3 MB). Unpacking it once, to about 2.3 MB or more, in {tmp_path}/photos.tar."
    ]


@FORMS
def test_a_truncated_file_is_refused_wherever_it_ends(form: str, photo_tar: bytes, tmp_path: Path) -> None:
    packed = COMPRESS[form](photo_tar)
    for end in (7, 30, len(packed) // 3, 65_536, len(packed) - 9, len(packed) - 4, len(packed) - 1):
        text = refusal(packed[:end], tmp_path)
        if form == "zstd":
            expected = f": the zstd data are damaged or truncated at or before byte {end:,} (Truncated"
        else:
            expected = f" ends at byte {end:,} in the middle of the {form} data that begin at 0. It was truncated"
        assert text.startswith(f"{WHERE}{expected}")
        assert text.endswith(("copy or download it again.", "Copy or download it again."))


def test_a_cut_in_the_second_member_is_reported_with_its_start(photo_tar: bytes, tmp_path: Path) -> None:
    first = gzip.compress(photo_tar)
    end = 2 * len(first) - 5
    expected = f"{WHERE} ends at byte {end:,} in the middle of the gzip data that begin at {len(first):,}. It was "
    assert refusal((first + first)[:end], tmp_path).startswith(expected)


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_a_flipped_bit_is_noticed_wherever_it_is(form: str, photo_tar: bytes, tmp_path: Path) -> None:
    packed = COMPRESS[form](photo_tar)
    places = [*range(12, len(packed) - 8, len(packed) // 23), *range(len(packed) - 8, len(packed))]
    without_meaning = 0  # some bits are only padding
    for number, place in enumerate(places):
        try:
            assert unpacked(flip_bit(packed, place, number % 8), tmp_path) == photo_tar
            (tmp_path / "unpacked").unlink()
            without_meaning += 1
        except TenchError as error:
            text = str(error)
            assert text.startswith(f"{WHERE}: the {form} data are damaged between bytes ") or "truncated" in text
            assert list(tmp_path.iterdir()) == []
    assert without_meaning <= 2


def test_damage_is_located_to_within_64_kib(tmp_path: Path) -> None:
    block = b"\0\0\x80\xff\x7f" + bytes(0x8000)  # a stored block of 32 KiB that is not the last
    packed = gzip.compress(b"")[:10] + 7 * block + b"\7" + 4 * block  # 7: an undefined block type
    text = refusal(packed, tmp_path)
    assert text.startswith(f"{WHERE}: the gzip data are damaged between bytes 196,608 and 262,144 (Error -3 while")
    assert text.endswith("Copy or download it again.")


@FORMS
def test_trailing_data_is_refused(form: str, photo_tar: bytes, tmp_path: Path) -> None:
    packed = COMPRESS[form](photo_tar)
    text = refusal(packed + b"something else that somebody put here", tmp_path)
    if form == "zstd":
        assert text.startswith(
            f"{WHERE}: the zstd data are damaged or truncated at or before byte {len(packed) + 37:,}"
        )
    else:
        assert f"Everything before byte {len(packed):,} is intact, so this may be appended data." in text


def test_an_uncompressed_file_is_refused(photo_tar: bytes, tmp_path: Path) -> None:
    assert refusal(photo_tar, tmp_path) == f"{WHERE} is not compressed with any of gzip, xz, bzip2, zstd."
    assert refusal(b"", tmp_path) == f"{WHERE} is not compressed with any of gzip, xz, bzip2, zstd."


@FORMS
def test_a_file_that_expands_too_much_is_refused(form: str, tmp_path: Path) -> None:
    packed = COMPRESS[form](bytes(20_000_000))
    text = refusal(packed, tmp_path, Limits(inflated_bytes=10_000_000))
    assert text.endswith("more than 100 times as many. Images do not compress this well, so the file is not unpacked.")
    first, became = (int(word.replace(",", "")) for word in text.split() if word[0].isdigit() and word != "100")
    assert first <= len(packed)
    assert 10_000_000 < became < 12_000_000


def test_an_xz_file_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    assert refusal(lzma.compress(b"image"), tmp_path, Limits(dictionary_bytes=100_000)) == (
        f"{WHERE} needs more than 100,000 bytes of memory to be unpacked. Unpack it yourself (xz -d), and pass what "
        "it contains."
    )


def test_a_disk_without_room_is_an_error_before_unpacking_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage(tmp_path))(10**12, 10**12 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    packed = gzip.compress(bytes(5_000_000))  # only gzip states its unpacked size
    text = refusal(packed + gzip.compress(bytes(3_000_000)), tmp_path)
    assert text.startswith(f"{WHERE}: 0.0 GB must be copied to {tmp_path}, but only 0.0 GB are free. Make room")
    assert unpacked(gzip.compress(bytes(900_000)), tmp_path) == bytes(900_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which acts as a full disk")
def test_a_full_disk_is_an_error_that_says_how_much_is_needed(tmp_path: Path) -> None:
    packed = gzip.compress(random.Random(0).randbytes(4_000_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, before[1]))  # a limit on the file size simulates a full disk
    try:
        text = refusal(packed, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert text.startswith(f"{WHERE}: {tmp_path} is full (File too large) after ")
    assert "were unpacked there; about 4.0 MB are needed. Make room there, or set TENCH_CACHE" in text


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(
    photo_tar: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def forbidden(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")
        yield path

    monkeypatch.setattr(compressed, "complete_file", forbidden)
    text = refusal(gzip.compress(photo_tar), tmp_path)
    assert text == f"{tmp_path}/unpacked: cannot be written (Permission denied) while unpacking {WHERE}."


@FORMS
def test_a_disk_that_cannot_be_read_is_an_error_that_names_the_file(
    form: str, photo_tar: bytes, tmp_path: Path
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 60_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(TenchError, match=f"^{WHERE}: .*Input/output error") as error:
        spool_compressed(Failing(COMPRESS[form](photo_tar)), WHERE, tmp_path / "unpacked")
    assert "disk" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@FORMS
@pytest.mark.parametrize("lengths", [(512,), (1, 512, 100_000), (3_000_000,)])
def test_forward_reads_return_the_bytes_at_each_position(form: str, lengths: tuple[int, ...]) -> None:
    whole = bytes(range(256)) * 20_000
    forward = compressed.Forward(io.BytesIO(COMPRESS[form](whole)), WHERE)
    offset = 0
    for number in range(60):
        length = lengths[number % len(lengths)]
        assert forward.pread(length, offset) == whole[offset : offset + length]
        assert forward.pread(10, offset) == whole[offset : offset + 10]  # the last position again
        offset += length * (number % 3)
    assert forward.pread(10, 2**62) == b""
    forward.finish()
