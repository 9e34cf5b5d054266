"""`tench check` from the command line, for people and programs."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from tests.data.miniature import ilsvrc, unpacked_train

from tench.cli.main import main
from tench.data.check import containers
from tench.data.check.certificate import certificate_of
from tench.data.check.known import Published
from tench.data.formats.tfrecord import records
from tench.data.layouts import tfrecord
from tench.data.source import open_source


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_good_photographs_leave_a_certificate_and_the_exit_code_is_0(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(photos)]) == 0
    assert shown(capsys) == [
        "grey: 1 (one channel, read as three equal channels), such as train/roof/0.jpg",
        "cmyk: 1 (four printing colours, converted to RGB without a profile), such as train/petal/1.jpg",
        f"{photos}: 24 images, 0 bad. The result is saved, and later training on the same content reports it.",
    ]
    found = certificate_of(open_source(photos))
    assert found is not None
    assert found.images == 24


def test_bad_images_are_listed_and_the_exit_code_is_1(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = photos / "val/roof/7.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert main(["check", str(photos), "--json"]) == 1
    report = json.loads(shown(capsys)[0])
    assert report["images"] == 24
    reason = "truncated JPEG: Premature end of JPEG file"
    assert report["bad"] == [
        {"split": "val", "key": "roof/7.jpg", "file": str(path), "reason": reason, "fixable": True}
    ]
    assert [image["key"] for image in report["odd_images"]] == ["petal/1.jpg", "roof/0.jpg"]


def test_duplicates_are_listed_by_kind_and_the_exit_code_is_0(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = (photos / "train/roof/1.jpg").read_bytes()
    (photos / "val/roof/again.jpg").write_bytes(one)
    (photos / "train/water/wrong.jpg").write_bytes((photos / "train/petal/0.jpg").read_bytes())
    (photos / "train/water/twice.jpg").write_bytes((photos / "train/water/0.jpg").read_bytes())
    assert main(["check", str(photos)]) == 0
    lines = shown(capsys)
    start = lines.index("duplicates: 6 images in 3 groups with the same content")
    assert lines[start + 1 : start + 7] == [
        "  1 across splits, so validation sees training images:",
        "    train/roof/1.jpg = val/roof/again.jpg",
        "  1 with different labels:",
        "    train/petal/0.jpg = train/water/wrong.jpg",
        "  1 within one split and class:",
        "    train/water/0.jpg = train/water/twice.jpg",
    ]


def test_only_the_first_images_of_a_large_group_of_duplicates_are_listed(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = (photos / "train/roof/1.jpg").read_bytes()
    for number in range(10):
        (photos / f"train/roof/again{number}.jpg").write_bytes(one)
    assert main(["check", str(photos)]) == 0
    names = " = ".join(f"train/roof/{name}.jpg" for name in ("1", *(f"again{number}" for number in range(9))))
    assert f"    {names} = ... (11 in all)" in shown(capsys)


def test_near_finds_near_duplicates(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(photos / "train/petal/5.jpg") as image:
        image.save(photos / "val/petal/again.jpg", quality=50)
    assert main(["check", str(photos), "--near", "--json"]) == 0
    report = json.loads(shown(capsys)[0])
    groups = [[f"{one['split']}/{one['key']}" for one in group["images"]] for group in report["near_duplicates"]]
    assert ["train/petal/5.jpg", "val/petal/again.jpg"] in groups
    assert report["duplicates"] == []
    assert main(["check", str(photos)]) == 0
    assert not any(line.startswith("near") for line in shown(capsys))


def test_a_published_archive_is_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ilsvrc(tmp_path)
    val = tmp_path / "ILSVRC2012_img_val.tar"
    known = Published(val.name, hashlib.md5(val.read_bytes()).hexdigest(), val.stat().st_size)
    monkeypatch.setattr(containers, "KNOWN_FILES", (known, Published("ILSVRC2012_img_train.tar", "0" * 32)))
    assert main(["check", str(tmp_path)]) == 1  # one of the images is truncated
    lines = shown(capsys)
    assert f"checksum: {val}: its MD5 matches the published one." in lines
    assert any(line.startswith(f"checksum: {tmp_path}/ILSVRC2012_img_train.tar: its MD5 is ") for line in lines)


def test_a_damaged_record_gives_exit_code_1_even_if_its_image_decodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Path(__file__).parents[3] / "shared/golden/records/tensorflow"
    files = sorted(golden.glob("**/train-*")) if golden.is_dir() else []
    if not files:
        pytest.skip(f"needs the TFRecords in {golden}")
    for file in files:
        if file.parent == files[0].parent:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    spoilt = tmp_path / files[0].name
    data = bytearray(spoilt.read_bytes())
    data[-1] ^= 1  # in the checksum of the last record
    spoilt.write_bytes(data)
    last = sum(1 for _ in records(io.BytesIO(data), "x")) - 1
    monkeypatch.setattr(tfrecord, "_VERIFIED_BYTES", 0)  # as for a set that is too large to be verified on opening
    assert main(["check", str(tmp_path)]) == 1
    lines = shown(capsys)
    assert [line.partition(" (counted")[0] for line in lines if line.startswith("damaged")] == [
        f"damaged: {spoilt}: record {last}"
    ]
    assert lines[-1].startswith(f"{tmp_path}: ")
    assert ", 0 bad, damaged records or members: 1. " in lines[-1]


def test_a_damaged_zip_member_gives_exit_code_1(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*.jpg")):
            archive.write(file, file.relative_to(photos.parent))
    data = bytearray(path.read_bytes())
    comment = data.index((photos / "train/roof/2.jpg").read_bytes()) + 10  # in a header that decoding does not need
    data[comment] ^= 1
    path.write_bytes(data)
    assert main(["check", str(path)]) == 1
    lines = shown(capsys)
    assert [line for line in lines if line.startswith(("bad", "damaged"))] == [
        f"damaged: {path}: member 'photos/train/roof/2.jpg': Bad CRC-32 for file 'photos/train/roof/2.jpg'. "
        "Copy or download the archive again."
    ]


def test_several_sources_are_checked_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = unpacked_train(tmp_path / "one", ["n01440764", "n02119789"])
    other = unpacked_train(tmp_path / "other", ["n02092002", "n02100735"])
    assert main(["check", str(one), "--with", str(other), "--json", "-j", "2"]) == 0
    assert json.loads(shown(capsys)[0])["images"] == len([*tmp_path.rglob("*.JPEG")])
