import hashlib
import zipfile
from pathlib import Path

import pytest
from tests.support.files import write_file
from tests.support.tfrecords import framed

from tench.data.check import containers
from tench.data.check.containers import Containers, Damaged, verify
from tench.data.check.known import KNOWN_FILES, Published
from tench.data.table import stamp_of

PHOTO = bytes(range(256)) * 40


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published files: two share a name but not a size, two have no known size, and one is known by its SHA-256."""
    monkeypatch.setattr(
        containers,
        "KNOWN_FILES",
        (
            Published("train.tar", hashlib.md5(PHOTO).hexdigest(), len(PHOTO)),
            Published("train.tar", hashlib.md5(b"dogs").hexdigest(), 4),
            Published("val.tar", hashlib.md5(PHOTO * 2).hexdigest(), 2 * len(PHOTO)),
            Published("dogs.tar", hashlib.md5(PHOTO + b"dogs").hexdigest()),
            Published("v2/val.tar", hashlib.sha256(PHOTO + b"v2").hexdigest()),
        ),
    )


def verified(*paths: Path) -> Containers:
    return verify(stamp_of([str(path) for path in paths]), threads=2)


@pytest.mark.usefixtures("published")
def test_a_published_file_is_recognised_by_its_checksum(tmp_path: Path) -> None:
    train = write_file(tmp_path / "train.tar", PHOTO)
    val = write_file(tmp_path / "v2" / "val.tar", PHOTO + b"v2")
    assert verified(train, val) == Containers(
        (f"{train}: its MD5 matches the published one.", f"{val}: its SHA-256 matches the published one."), ()
    )


@pytest.mark.usefixtures("published")
def test_a_known_file_under_another_name_is_reported(tmp_path: Path) -> None:
    renamed = write_file(tmp_path / "images.tar", PHOTO)  # found by its size
    swapped = write_file(tmp_path / "dogs.tar", PHOTO)
    larger = write_file(tmp_path / "train.tar", PHOTO * 2)
    assert verified(renamed, swapped, larger).checksums == (
        f"{renamed} has the MD5 of train.tar, so it is that file under another name.",
        f"{swapped} has the MD5 of train.tar, so it is that file under another name.",
        f"{larger} is not the published file of this name: it has 20,480 bytes, the published file has 10,240 or 4. It "
        "was truncated or repacked.",
        f"{larger} has the MD5 of val.tar, so it is that file under another name.",
    )


@pytest.mark.usefixtures("published")
def test_a_different_checksum_is_reported_with_both_values(tmp_path: Path) -> None:
    changed = PHOTO[:-1] + b"x"
    train = write_file(tmp_path / "train.tar", changed)
    found = verified(train)
    assert found.damaged == ()
    assert found.checksums == (
        f"{train}: its MD5 is {hashlib.md5(changed).hexdigest()}; the published file of this name has "
        f"{hashlib.md5(PHOTO).hexdigest()}. It is damaged or was repacked. tench check shows whether its "
        f"images decode.",
    )


@pytest.mark.usefixtures("published")
def test_a_different_size_is_reported_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = write_file(tmp_path / "train.tar", b"short")
    monkeypatch.setattr(hashlib, "md5", None)
    assert verified(train).checksums == (
        f"{train} is not the published file of this name: it has 5 bytes, the published file has 10,240 or 4. It was "
        "truncated or repacked.",
    )


@pytest.mark.usefixtures("published")
def test_unpublished_files_folders_and_missing_files_are_ignored(tmp_path: Path) -> None:
    other, gone = write_file(tmp_path / "flowers.tar", b"flowers"), write_file(tmp_path / "dogs.tar", b"x")
    stamp = stamp_of([str(tmp_path), str(other), str(gone)])
    gone.unlink()
    assert verify(stamp, threads=1) == Containers((), ())


def test_the_published_checksums_are_hexadecimal_and_unique() -> None:
    assert len({known.checksum for known in KNOWN_FILES}) == len(KNOWN_FILES)
    for known in KNOWN_FILES:
        assert len(bytes.fromhex(known.checksum)) == {"MD5": 16, "SHA-256": 32}[known.algorithm]
        assert known.num_bytes is None or known.num_bytes > 1000


def test_every_damaged_record_is_named_with_its_file(tmp_path: Path) -> None:
    whole = write_file(tmp_path / "train-00000-of-00002", framed(b"one", b"two"))
    data = bytearray(framed(b"one", b"two", b"three"))
    data[12] ^= 1
    data[-5] ^= 1
    broken = write_file(tmp_path / "train-00001-of-00002", bytes(data))
    cut = write_file(tmp_path / "train-00002-of-00002", framed(b"one", b"two")[:-6])
    found = verified(whole, broken, cut)
    assert found.checksums == ()
    assert [(damaged.file, damaged.reason.partition(":")[0]) for damaged in found.damaged] == [
        (str(broken), "record 0 (counted from 0, at byte 0)"),
        (str(broken), "record 2 (counted from 0, at byte 38)"),
        (
            str(cut),
            "record 1 (counted from 0, at byte 19) needs bytes 31-38, but the file ends at 32. It was probably "
            "truncated. Copy, download or convert it again.",
        ),
    ]


def test_every_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            archive.writestr(name, name.encode() * 100)
    assert verified(path) == Containers((), ())
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a.jpga", b"a.jpgx", 1).replace(b"c.jpgc", b"c.jpgx", 1))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() == "a.jpg"
    assert verified(path).damaged == tuple(
        Damaged(str(path), f"member '{name}': Bad CRC-32 for file '{name}'. Copy or download the archive again.")
        for name in ("a.jpg", "c.jpg")
    )


def test_files_that_cannot_be_read_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"photo")
    path.write_bytes(path.read_bytes()[:-30])
    (damaged,) = verified(path).damaged
    assert damaged.reason == "the zip archive is damaged (File is not a zip file). Copy or download it again."


def test_a_file_that_is_temporarily_unreadable_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "train-0", framed(b"photo"))
    stamp = stamp_of([str(path)])

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    found = verify(stamp, threads=1)
    assert found.damaged == ()
    assert found.unreadable == (Damaged(str(path), "cannot be read (Permission denied)."),)


def test_the_result_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    data = bytearray(framed(*[b"photo %d" % number for number in range(50)]))
    data[40] ^= 1
    stamp = stamp_of([str(write_file(tmp_path / f"train-{number}", bytes(data))) for number in range(9)])
    first = verify(stamp, threads=1)
    assert len(first.damaged) == 9
    assert verify(stamp, threads=4) == first
