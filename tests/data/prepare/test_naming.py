"""The names that images are written under."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.data.photos import dataset, encoded, part

from tench.data.images.encode import Encoding, Format
from tench.data.keys import key_of
from tench.data.prepare import naming
from tench.data.prepare.naming import check_class_folders, check_names, names_of
from tench.data.table import PIXELS_HWC, Classes, Table
from tench.errors import UsageError

Kind = Literal["file", "member", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NAMED = Classes.of(["cat", "dog"])
NUMBERED = Classes.numbered_to(2)
PHOTO = part(24, 16)
JPEG = encoded(PHOTO)
LONGEST = "x" * 255
TOO_LONG = "is too long for a file system (4,095 bytes with the path of the destination)"


def table(folder: Path, *images: tuple[str, int] | tuple[str, int, bytes], classes: Classes = NAMED) -> Table:
    """A split of images with these keys and labels; JPEGs if no bytes are given."""
    rows = [(image[0], image[1], image[2] if len(image) > 2 else JPEG) for image in images]
    return dataset(folder, classes, {"train": rows}).splits["train"]


def names(
    folder: Path,
    *images: tuple[str, int] | tuple[str, int, bytes],
    classes: Classes = NAMED,
    how: Encoding | None = None,
    in_folders: bool = False,
) -> list[str]:
    return names_of(table(folder, *images, classes=classes), classes, how, in_folders=in_folders)


def refusal(paths: Sequence[str], dest: Path, kind: Kind = "file", separators: str = "") -> str:
    with pytest.raises(UsageError) as caught:
        check_names(paths, dest, kind, separators)
    return str(caught.value)


@pytest.mark.parametrize("in_folders", [False, True])
def test_an_image_whose_key_is_a_file_name_keeps_it(tmp_path: Path, in_folders: bool) -> None:
    kept = ["cat/1.JPEG", "cat/deep/er/2.jpg", "cat/no.image.png", "dog/1.JPEG", "dog/a b, c.webp"]
    assert names(tmp_path, *((key, int(key[0] == "d")) for key in kept), in_folders=in_folders) == kept


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("JPEG", ".jpg"),
        ("PNG", ".png"),
        ("WEBP", ".webp"),
        ("GIF", ".gif"),
        ("BMP", ".bmp"),
        ("TIFF", ".tiff"),
        ("PPM", ".ppm"),
        ("JPEG2000", ".jp2"),
        ("AVIF", ".avif"),
    ],
)
def test_a_name_without_a_suffix_gets_that_of_its_content(tmp_path: Path, kind: str, suffix: str) -> None:
    if kind == "AVIF" and kind not in Image.SAVE:
        pytest.skip("needs a Pillow that writes AVIF")
    images = [("cat/00001", 0, encoded(PHOTO, kind)), ("cat/v1.5", 0, encoded(PHOTO, kind))]
    assert names(tmp_path, *images) == [f"cat/00001{suffix}", f"cat/v1.5{suffix}"]


def test_content_that_is_not_an_image_gets_the_suffix_of_a_jpeg(tmp_path: Path) -> None:
    assert names(tmp_path, ("cat/0", 0, b""), ("cat/1", 0, b"no image at all, but text")) == ["cat/0.jpg", "cat/1.jpg"]


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("jpeg", ["cat/a.jpg", "cat/b.JPEG", "cat/c.jpg", "cat/d.e.jpg", "cat/f.jpe"]),
        ("png", ["cat/a.PNG", "cat/b.png", "cat/c.png", "cat/d.e.png", "cat/f.png"]),
        ("webp", ["cat/a.webp", "cat/b.webp", "cat/c.webp", "cat/d.e.webp", "cat/f.webp"]),
        ("pixels", ["cat/a.ppm", "cat/b.ppm", "cat/c.ppm", "cat/d.e.ppm", "cat/f.ppm"]),
    ],
)
def test_re_encoded_images_get_the_suffix_of_the_new_format(
    tmp_path: Path, format_: Format, expected: list[str]
) -> None:
    keys = ["cat/a.PNG", "cat/b.JPEG", "cat/c", "cat/d.e.gif", "cat/f.jpe"]
    assert names(tmp_path, *((key, 0) for key in keys), how=Encoding(format_)) == expected


def test_raw_pixels_are_png_files(tmp_path: Path) -> None:
    pixels = np.asarray(PHOTO).tobytes()
    made = dataset(
        tmp_path,
        NUMBERED,
        {"train": [("00000", 0, pixels), ("00001", 1, pixels), ("x.jpg", 1, pixels)]},
        encoding=PIXELS_HWC,
        height=16,
        width=24,
        channels=3,
    )
    rows = made.splits["train"]
    assert names_of(rows, NUMBERED, None, in_folders=False) == ["00000.png", "00001.png", "x.png"]
    assert names_of(rows, NUMBERED, Encoding("jpeg"), in_folders=False) == ["00000.jpg", "00001.jpg", "x.jpg"]


def test_in_class_folders_every_name_begins_with_the_class(tmp_path: Path) -> None:
    images = [("1.jpg", 0), ("2.jpg", 1), ("dog/3.jpg", 1), ("dog/4.jpg", 0), ("dogs/5.jpg", 1), ("a/dog/6.jpg", 1)]
    expected = ["cat/1.jpg", "dog/2.jpg", "dog/a/dog/6.jpg", "dog/3.jpg", "cat/dog/4.jpg", "dog/dogs/5.jpg"]
    assert names(tmp_path, *images, in_folders=True) == expected
    numbered = names(tmp_path, ("00000", 1), ("1/a.jpg", 1), ("10.jpg", 0), classes=NUMBERED, in_folders=True)
    assert numbered == ["1/00000.jpg", "1/a.jpg", "0/10.jpg"]


def test_outside_class_folders_names_are_keys_without_class_numbers(tmp_path: Path) -> None:
    images = [("1.jpg", 0), ("2.jpg", -1), ("a/dog/6.jpg", 1), ("dog/3.jpg", 1), ("x/4.jpg", 1)]
    assert names(tmp_path, *images) == ["cat/1.jpg", "2.jpg", "dog/6.jpg", "dog/3.jpg", "dog/4.jpg"]
    assert [key_of(key, [*NAMED.ids, None][label]) for key, label in images] == names(tmp_path, *images)
    assert names(tmp_path, ("1.jpg", 0), ("a/2.jpg", 1), classes=NUMBERED) == ["1.jpg", "a/2.jpg"]


def test_if_keys_would_collide_all_names_are_paths(tmp_path: Path) -> None:
    images = [("a/cat/1.jpg", 0), ("b/cat/1.jpg", 0)]
    assert names(tmp_path, *images) == ["a/cat/1.jpg", "b/cat/1.jpg"]


def test_unlabelled_images_have_no_class_folder(tmp_path: Path) -> None:
    images = [("in/images/1.jpg", -1), ("2.jpg", -1), ("other/1.jpg", -1)]
    assert names(tmp_path, *images, in_folders=True) == ["2.jpg", "1.jpg", "1_2.jpg"]


def test_names_that_collide_get_their_row_number(tmp_path: Path) -> None:
    images = [("cat/a.jpg", 0), ("cat/a.png", 0), ("cat/a.webp", 0), ("cat/a_2.gif", 0)]
    expected = ["cat/a.jpg", "cat/a_1.jpg", "cat/a_2_.jpg", "cat/a_2.jpg"]
    assert names(tmp_path, *images, how=Encoding("jpeg")) == expected
    images = [("cat/a.jpg", 0), ("cat/a.png", 0), ("cat/a_1.jpg", 0), ("cat/a_1_.jpg", 0)]
    expected = ["cat/a.jpg", "cat/a_1__.jpg", "cat/a_1.jpg", "cat/a_1_.jpg"]
    assert names(tmp_path, *images, how=Encoding("jpeg")) == expected


@given(
    keys=st.lists(
        st.text("ab._1/", min_size=1, max_size=4).map(lambda stem: f"{stem}.jpg")
        | st.text("ab._1", min_size=1, max_size=4).map(lambda stem: f"{stem}.png"),
        unique=True,
        max_size=30,
    ),
    labels=st.data(),
    in_folders=st.booleans(),
    how=st.sampled_from([None, Encoding("jpeg"), Encoding("png")]),
)
def test_names_are_always_unique_and_have_a_suffix(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[str],
    labels: st.DataObject,
    in_folders: bool,
    how: Encoding | None,
) -> None:
    images = [(key, labels.draw(st.sampled_from([-1, 0, 1]))) for key in keys]
    found = names(tmp_path_factory.mktemp("set"), *images, how=how, in_folders=in_folders)
    assert len(set(found)) == len(found) == len(keys)
    suffixes = (".jpg",) if how == Encoding("jpeg") else (".png",) if how else (".jpg", ".png")
    assert all(name.endswith(suffixes) for name in found)


@pytest.mark.parametrize(
    "path", ["/etc/passwd.jpg", "../1.jpg", "cat/../../1.jpg", "cat//1.jpg", "cat/./1.jpg", "", "cat/"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_leads_outside_its_folder_is_refused(tmp_path: Path, path: str, kind: Kind) -> None:
    assert refusal(["cat/1.jpg", path], tmp_path, kind) == (
        f"The image {path!r} cannot be written under this name: it leads out of its folder or has an empty part. "
        "Rename it in the source, or choose another layout (--to)."
    )


@pytest.mark.parametrize(
    ("path", "separators", "signs"),
    [
        ("cat/a\0.jpg", "", r"'\x00\n'"),
        ("cat/a\nb.jpg", "", r"'\x00\n'"),
        ("cat/a b.jpg", " \t", r"'\x00\t\n '"),
        ("big\tcat/a.jpg", " \t", r"'\x00\t\n '"),
        ("big\tcat/a.jpg", "\t", r"'\x00\t\n'"),
    ],
)
def test_a_separator_in_a_name_is_refused(tmp_path: Path, path: str, separators: str, signs: str) -> None:
    assert refusal([path], tmp_path, separators=separators) == (
        f"The image {path!r} cannot be written under this name: it contains a character that would end the name (one "
        f"of {signs}). Rename it in the source, or choose another layout (--to)."
    )


def test_spaces_and_dots_are_allowed_in_names(tmp_path: Path) -> None:
    check_names(["a b/c\td.jpg", "a/b..", "a.b/c..jpg", "ä/鯉.jpg"], tmp_path, "file")
    check_names(["a b/c.jpg"], tmp_path, "file", "\t")


@pytest.mark.parametrize("path", ["cat/.1.jpg", ".cat/1.jpg", "...jpg", "__MACOSX/1.jpg", "cat/lost+found/1.jpg"])
def test_a_name_that_readers_skip_is_refused_except_in_records(tmp_path: Path, path: str) -> None:
    for kind in ("file", "member"):
        assert refusal(["cat/1.jpg", path], tmp_path, kind) == (
            f"The image {path!r} cannot be written under this name: it has a part that readers skip, because it begins "
            f"with a dot or is reserved by other programs. Rename it in the source, or choose another layout (--to)."
        )
    check_names([path], tmp_path, "text")


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (f"cat/{LONGEST}x", "has a part of more than 255 bytes, too long for a file system"),
        (f"{LONGEST}x/1.jpg", "has a part of more than 255 bytes, too long for a file system"),
        ("é" * 128, "has a part of more than 255 bytes, too long for a file system"),
        (f"{LONGEST}/" * 16 + "1.jpg", TOO_LONG),
    ],
)
def test_a_name_that_is_too_long_for_a_file_system_is_refused(tmp_path: Path, path: str, wrong: str) -> None:
    assert refusal([path], tmp_path) == (
        f"The image {path!r} cannot be written under this name: it {wrong}. Rename it in the source, or choose "
        "another layout (--to)."
    )
    check_names([path], tmp_path, "text")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    check_names([f"{LONGEST}/{LONGEST}"], tmp_path, "file")
    (tmp_path / LONGEST).mkdir()
    (tmp_path / LONGEST / LONGEST).touch()
    room = 4095 - len(str(tmp_path)) - 1  # PATH_MAX includes the final zero byte
    longest = "/".join("y" * 99 for _ in range((room - 101) // 100))
    longest += "/" + "y" * (room - len(longest) - 1)
    assert len(longest) == room
    check_names([longest], tmp_path, "file")
    (tmp_path / longest).parent.mkdir(parents=True)
    (tmp_path / longest).touch()
    assert f"it {TOO_LONG}. Rename it" in refusal([longest + "y"], tmp_path)
    with pytest.raises(OSError, match="File name too long"):
        (tmp_path / f"{longest}y").touch()


def test_names_that_differ_only_in_case_are_refused_on_a_disk_that_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ["cat/a.jpg", "cat/b.jpg", "cat/A.jpg"]
    check_names(paths, tmp_path, "file")
    monkeypatch.setattr(naming, "_folds_case", lambda dest: True)
    check_names(paths, tmp_path, "text")
    check_names(paths[:2], tmp_path, "file")
    assert refusal(paths, tmp_path) == (
        f"The image 'cat/A.jpg' cannot be written under this name: it and 'cat/a.jpg' differ only in case, which "
        f"{tmp_path} does not distinguish. Rename it in the source, or choose another layout (--to)."
    )


def test_the_nearest_existing_folder_shows_whether_a_disk_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Set").mkdir()
    asked = []

    def exists(path: Path) -> bool:
        asked.append(path)
        return path.name.lower() == "set"

    paths = ["a.jpg", "A.jpg"]
    (tmp_path / "2024").mkdir()
    for folder in ("Set/not/yet", "2024"):  # this disk distinguishes case
        check_names(paths, tmp_path / folder, "file")
    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr(Path, "samefile", lambda path, other: path.name.lower() == other.name.lower())
    assert "differ only in case" in refusal(paths, tmp_path / "Set/not/yet")
    assert asked == [tmp_path / "sET"]


def test_two_folders_that_differ_only_in_case_show_that_a_disk_does_not_ignore_it(tmp_path: Path) -> None:
    for name in ("Set", "sET"):
        (tmp_path / name).mkdir(exist_ok=True)
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("needs a disk that distinguishes Set and sET")
    check_names(["a.jpg", "A.jpg"], tmp_path / "Set", "file")


@pytest.mark.parametrize("class_id", ["", ".", "..", ".cat", "@eaDir", "a/b", "/", LONGEST + "x", "é" * 128])
def test_a_class_that_cannot_be_a_folder_is_refused(class_id: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_class_folders(Classes.of(["cat", class_id]))
    assert str(caught.value) == (
        f"The class {class_id!r} cannot be used as a folder name. Choose a layout without class folders: --to "
        f"webdataset, tfrecord "
        "or recordio."
    )


def test_ordinary_class_names_are_valid_folders() -> None:
    check_class_folders(Classes.of(["big cat", "n01440764", "a.b", LONGEST, "鯉"]))
    check_class_folders(NUMBERED)
