"""Images in every form that a caller may pass."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tench.data.images.image import ImageError
from tench.errors import TenchError, UsageError
from tench.input.given import find_images, given_images

COLOUR = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
ALPHA = np.dstack([COLOUR, np.full((20, 16), 7, np.uint8)])


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (COLOUR, Image.fromarray(COLOUR)),
        (GREY, Image.fromarray(GREY)),
        (GREY[..., None], Image.fromarray(GREY)),
        (ALPHA, Image.fromarray(ALPHA)),
        (COLOUR[:, ::-1], Image.fromarray(COLOUR).transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        (Image.fromarray(COLOUR), Image.fromarray(COLOUR)),
        (Image.fromarray(ALPHA), Image.fromarray(ALPHA)),
        (Image.fromarray(GREY), Image.fromarray(GREY)),
        (Image.fromarray(COLOUR).quantize(16), Image.fromarray(COLOUR).quantize(16)),
        (Image.fromarray(COLOUR).convert("CMYK"), Image.fromarray(COLOUR).convert("CMYK")),
        (png(Image.fromarray(COLOUR)), Image.fromarray(COLOUR)),
        (bytearray(png(Image.fromarray(GREY))), Image.fromarray(GREY)),
        (memoryview(png(Image.fromarray(ALPHA))), Image.fromarray(ALPHA)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_form_is_one_image_with_pillows_pixels(image: Any, expected: Image.Image, channels: int) -> None:
    (alone,) = given_images(image)
    (first, second) = given_images([image, image])
    assert [one.name for one in (alone, first, second)] == ["image", "images[0]", "images[1]"]
    pixels = np.asarray(expected.convert("RGB").convert("RGB" if channels == 3 else "L")).reshape(20, 16, channels)
    for one in (alone, first, second):
        np.testing.assert_array_equal(one.pixels(channels), pixels)


def test_an_array_with_four_axes_is_several_images() -> None:
    stack = np.stack([COLOUR, COLOUR[::-1]])
    given = given_images(stack)
    assert [one.name for one in given] == ["images[0]", "images[1]"]
    np.testing.assert_array_equal(given[1].pixels(3), stack[1])
    assert [one.name for one in given_images([COLOUR, stack])] == ["images[0]", "images[1][0]", "images[1][1]"]
    assert given_images(stack[:0]) == []


def test_any_sequence_of_paths_is_accepted(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "1.png")
    path = str(tmp_path / "1.png")
    for paths in (path, Path(path), [path], (Path(path),), np.array([path]), iter([path])):
        (given,) = given_images(paths)
        assert given.name == path
        np.testing.assert_array_equal(given.pixels(3), COLOUR)


def test_an_empty_sequence_gives_no_images() -> None:
    assert given_images([]) == []


EXPECTED = "uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
KINDS = "a path, a folder, a PIL image, a uint8 array or the bytes of an image file"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            COLOUR / 255,
            f"image is an array of float64 with shape (20, 16, 3); expected {EXPECTED}. If its values are between 0 "
            "and 1: (255 * array).round().astype('uint8').",
        ),
        (COLOUR.astype(int), f"image is an array of int64 with shape (20, 16, 3); expected {EXPECTED}."),
        (COLOUR > 9, f"image is an array of bool with shape (20, 16, 3); expected {EXPECTED}."),
        (
            [COLOUR, COLOUR.astype(np.uint16)],
            f"images[1] is an array of uint16 with shape (20, 16, 3); expected {EXPECTED}.",
        ),
        (
            COLOUR.transpose(2, 0, 1),
            f"image is an array of uint8 with shape (3, 20, 16); expected {EXPECTED}, or (N, H, W, C) for several "
            "images. If the channels come first, pass array.transpose(1, 2, 0).",
        ),
        (
            COLOUR.transpose(2, 0, 1)[None],
            f"image is an array of uint8 with shape (1, 3, 20, 16); expected {EXPECTED}, or (N, H, W, C) for several "
            "images. If the channels come first, pass array.transpose(0, 2, 3, 1).",
        ),
        (
            np.zeros((5, 20, 16), np.uint8),
            f"image is an array of uint8 with shape (5, 20, 16); expected {EXPECTED}, or (N, H, W, C) for several "
            "images. For several grey images, pass list(array).",
        ),
        (
            GREY[0],
            f"image is an array of uint8 with shape (16,); expected {EXPECTED}, or (N, H, W, C) for several images.",
        ),
        (
            COLOUR[:0],
            f"image is an array of uint8 with shape (0, 16, 3), which has no pixels; expected {EXPECTED}.",
        ),
        (
            torch.from_numpy(COLOUR),
            f"image is a torch Tensor; expected {KINDS}. For a uint8 tensor (C, H, W), pass "
            "tensor.permute(1, 2, 0).numpy().",
        ),
        ([None], f"images[0] is of type NoneType; expected {KINDS}."),
        (5, f"image is of type int; expected {KINDS}."),
        ({"a": COLOUR}, f"image is of type dict; expected {KINDS}."),
        ([[COLOUR]], f"images[0] is of type list; expected {KINDS}."),
    ],
)
def test_the_error_about_a_value_that_is_not_an_image_says_what_is_accepted(wrong: Any, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        given_images(wrong)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("RGB", (0, 0)), "0 x 0 pixels: the image is empty"),
        (
            Image.new("F", (4, 4)),
            "float grey image: the value of white is unknown. Save it with 8 or 16 bits unsigned",
        ),
        (b"", "empty (0 bytes)"),
    ],
)
def test_an_image_that_cannot_be_decoded_does_not_affect_the_others(image: Any, reason: str) -> None:
    (given,) = given_images(image)
    with pytest.raises(ImageError) as refused:
        given.pixels(3)
    assert str(refused.value) == reason


def test_a_file_that_pillow_opened_and_cannot_decode_is_damaged(tmp_path: Path) -> None:
    Image.fromarray(np.tile(COLOUR, (9, 9, 1))).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    with Image.open(io.BytesIO(data[: len(data) // 2])) as opened:
        (given,) = given_images(opened)
        with pytest.raises(ImageError, match=r"^truncated PNG: "):
            given.pixels(3)


# The files that are read from a folder.


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_folders_are_searched_for_images_and_named_files_are_always_read(tmp_path: Path) -> None:
    write(tmp_path, "b/2.JPG", "b/deep/1.png", "b/1.jpeg", "b/notes.txt", "a/x.webp", "z.data")
    found = find_images([str(tmp_path / "z.data"), tmp_path / "b", tmp_path / "a"])
    assert found == [str(tmp_path / name) for name in ("z.data", "b/1.jpeg", "b/2.JPG", "b/deep/1.png", "a/x.webp")]


def test_hidden_files_and_folders_are_left_out_and_a_folder_may_be_named_like_an_image(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg", "._1.jpg", ".trash/2.jpg", "album.jpg/3.jpg", "@eaDir/1.jpg", "__MACOSX/1.jpg")
    assert find_images([tmp_path]) == [str(tmp_path / "1.jpg"), str(tmp_path / "album.jpg/3.jpg")]


def test_links_to_files_and_folders_are_followed_and_a_cycle_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "real/1.jpg", "real/deep/2.jpg", "links/0.jpg")
    (tmp_path / "links/folder").symlink_to(tmp_path / "real")
    (tmp_path / "links/one.jpg").symlink_to(tmp_path / "real/1.jpg")
    (tmp_path / "real/deep/back").symlink_to(tmp_path / "links")
    with caplog.at_level("INFO", "tench"):
        found = find_images([tmp_path / "links"])
    names = ["0.jpg", "folder/1.jpg", "folder/deep/2.jpg", "one.jpg"]
    assert found == [str(tmp_path / "links" / name) for name in names]
    assert caplog.messages == [
        f"{tmp_path / 'links'}: Links to a folder above them are not followed: 'folder/deep/back' (1 in all)."
    ]


def test_files_that_are_not_images_are_counted_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "1.jpg", "notes.csv", "a.mp4", "deep/b.mp4")
    with caplog.at_level("INFO", "tench"):
        assert find_images([tmp_path]) == [str(tmp_path / "1.jpg")]
    assert caplog.messages == [
        f"{tmp_path}: 3 files are not images and were left out: 2 videos (a.mp4), 1 label file (notes.csv). Videos: "
        "Save frames as JPEG, for example with ffmpeg."
    ]


def test_images_without_a_suffix_are_found_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(png(Image.fromarray(COLOUR)))
    assert find_images([tmp_path]) == [str(tmp_path / "photo")]


def test_the_error_about_a_missing_path_names_it(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg")
    with pytest.raises(UsageError) as refused:
        find_images([str(tmp_path / "1.jpg"), str(tmp_path / "gone")])
    assert str(refused.value) == f"{tmp_path / 'gone'}: no such file or folder."


def test_a_path_below_the_home_folder_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "1.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_images(["~/1.jpg", "~"]) == [str(tmp_path / "1.jpg")] * 2


def test_the_error_about_a_folder_without_images_says_what_it_contains(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    with pytest.raises(TenchError) as refused:
        find_images([tmp_path])
    assert str(refused.value) == (
        f"{tmp_path} contains no images. It contains 1 file: 1 video (a.mp4). Videos: Save frames as JPEG, for "
        "example with ffmpeg."
    )


def test_a_file_in_an_unreadable_folder_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "shut/1.jpg")
    really_stat = os.stat

    def stat(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if "shut" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return really_stat(path, *arguments, **more)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(TenchError) as refused:
        find_images([str(tmp_path / "shut/1.jpg")])
    assert str(refused.value) == f"{tmp_path}/shut/1.jpg: cannot be read (Permission denied)."


def test_an_open_file_is_not_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(Image.fromarray(COLOUR)))
    with path.open("rb") as file, pytest.raises(UsageError) as error:
        given_images(file)
    assert str(error.value) == (
        "image is of type BufferedReader; expected a path, a folder, a PIL image, a uint8 array or the bytes of an "
        "image file. If it is an open file, pass its bytes: file.read()."
    )
