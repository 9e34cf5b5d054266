"""Adding restart markers without loss. Most of these tests need libjpeg-turbo's program jpegtran."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photos import encoded, photo
from tests.support.processes import DEADLINE_SECONDS

from tench.data.images import jpegtran
from tench.data.images.addressable import is_addressable
from tench.data.images.encode import Encoding
from tench.data.images.image import decode
from tench.data.images.jpegtran import made_addressable
from tench.data.prepare.planning import PrepareOptions
from tench.data.prepare.prepare import prepare
from tench.data.source import open_source
from tench.errors import UsageError

needs_jpegtran = pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not installed")
PHOTO = photo()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@needs_jpegtran
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_becomes_addressable_and_keeps_its_pixels(subsampling: str, progressive: bool) -> None:
    data = encoded(PHOTO, quality=85, subsampling=subsampling, progressive=progressive)
    assert not is_addressable(data)
    made = made_addressable(data)
    assert is_addressable(made)
    assert np.array_equal(pixels(made), pixels(data))


@needs_jpegtran
def test_grey_and_cmyk_become_addressable_too() -> None:
    for mode in ("L", "CMYK"):
        data = encoded(PHOTO.convert(mode))
        made = made_addressable(data)
        assert np.array_equal(pixels(made), pixels(data))
        assert is_addressable(made)


@needs_jpegtran
def test_an_arithmetic_coded_jpeg_is_decoded_and_becomes_addressable() -> None:
    data = encoded(PHOTO)
    command = [jpegtran.program(), "-arithmetic"]
    done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=DEADLINE_SECONDS)
    arithmetic = done.stdout
    assert np.array_equal(decode(arithmetic), pixels(data))
    made = made_addressable(arithmetic)
    assert is_addressable(made)
    assert np.array_equal(pixels(made), pixels(data))


@needs_jpegtran
def test_exif_data_and_colour_profiles_are_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a tench"
    data = encoded(PHOTO, exif=exif, icc_profile=b"profile" * 40)
    made = Image.open(io.BytesIO(made_addressable(data)))
    assert made.getexif()[0x010E] == "a tench"
    assert made.info["icc_profile"] == b"profile" * 40


@needs_jpegtran
def test_damaged_already_addressable_and_other_files_are_unchanged() -> None:
    data = encoded(PHOTO)
    once = made_addressable(data)
    for kept in (once, data[: len(data) // 2], encoded(PHOTO, "PNG"), b"", b"\xff\xd8\xff no JPEG"):
        assert made_addressable(kept) == kept


@needs_jpegtran
def test_prepare_makes_originals_addressable_and_says_so(photo_folder: Path, tmp_path: Path) -> None:
    before = open_source(photo_folder).splits["train"]
    prepare(photo_folder, tmp_path / "out", to="folder", options=PrepareOptions(addressable=True))
    after = open_source(tmp_path / "out").splits["train"]
    assert after.keys() == before.keys()
    kinds = set()
    for row in range(len(before)):
        assert np.array_equal(pixels(after.read(row)), pixels(before.read(row)))
        if before.read(row).startswith(b"\xff\xd8"):
            kinds.add(is_addressable(after.read(row)))
        else:
            assert after.read(row) == before.read(row)
    assert True in kinds


def test_without_jpegtran_the_error_says_what_to_install(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpegtran.program.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="jpegtran, which is not installed"):
        prepare(photo_folder, tmp_path / "out", options=PrepareOptions(addressable=True))
    jpegtran.program.cache_clear()


def test_re_encoded_images_are_not_rewritten_again() -> None:
    with pytest.raises(UsageError, match="--addressable only affects images that are not re-encoded"):
        PrepareOptions(encoding=Encoding(), addressable=True)
