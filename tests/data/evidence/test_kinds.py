"""Files that are left out or unreadable are named by kind, with counts, an example and the remedy."""

import io
import tarfile
import zipfile
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image
from tests.data.photos import array, encoded, part
from tests.support.errors import error_of

from tench.data.evidence.kinds import Kind, what_is_there
from tench.data.files import names
from tench.data.files.tree import open_tree
from tench.data.images import image
from tench.data.images.image import ImageError, decode
from tench.data.source import open_source
from tench.data.table import Dataset


def put(folder: Path, **files: bytes) -> Path:
    """Write files named by path, with __ for / and DOT for a dot."""
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def photo(number: int, kind: str = "JPEG") -> bytes:
    return encoded(part(24 + number, 20, number), kind)


def heic(number: int) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(part(32, 24, number)).save(stream, quality=90)
    return stream.getvalue()


refusal = error_of(open_source)


def labels(dataset: Dataset) -> dict[str, str]:
    rows = dataset.splits["train"]
    return {rows.key(row): dataset.classes.ids[rows.labels[row]] for row in range(len(rows))}


def test_a_tree_is_summed_up_by_kind(tmp_path: Path) -> None:
    dicom = bytes(128) + b"DICM" + bytes(64)
    put(tmp_path, aDOTjpg=photo(1), bDOTpng=photo(2), scans__1DOTdcm=dicom, scans__2=dicom, labelsDOTcsv=b"a,b")
    put(tmp_path, xDOTh5=b"", yDOTmdb=b"", clipDOTMP4=b"", noteDOTqqq=b"hello", noteDOTpdf=b"%PDF")
    found = {kind.name: (kind.count, kind.example) for kind in what_is_there(open_tree(tmp_path, tmp_path / "spool"))}
    assert found == {
        "images": (2, "a.jpg"),
        "DICOM files": (2, "scans/1.dcm"),
        "label files": (1, "labels.csv"),
        "HDF5 files": (1, "x.h5"),
        "LMDB environments": (1, "y.mdb"),
        "videos": (1, "clip.MP4"),
        "files of unknown kind .qqq": (1, "note.qqq"),
        "documents": (1, "note.pdf"),
    }
    assert str(Kind("videos", 1, "a.mp4")) == "1 video (a.mp4)"
    assert str(Kind("videos", 1200, "a.mp4")) == "1,200 videos (a.mp4)"


REFUSED = {
    "DICOM files (a/1.dcm). DICOM files: Convert them to PNG or JPEG, for example with pydicom.": ("dcm", b""),
    "camera RAW images (a/1.NEF). Camera RAW images: Develop them to JPEG or PNG.": ("NEF", b"MM"),
    "Photoshop images (a/1.psd). Photoshop images: Convert them to PNG or JPEG.": ("psd", b"8BPS"),
    "SVG drawings (a/1.svg). SVG drawings: Render them to PNG.": ("svg", b"<svg/>"),
    "videos (a/1.mov). Videos: Save frames as JPEG, for example with ffmpeg.": ("mov", b""),
    "NIfTI volumes (a/1.nii.gz). NIfTI volumes: Save slices of them as PNG.": ("nii.gz", b""),
    "7z and RAR archives (a/1.7z). 7z and RAR archives: Unpack them and pass the folder.": ("7z", b""),
    "ffcv files (a/1.beton). Ffcv files: Export the images as files or WebDataset shards with ffcv's own reader.": (
        *("beton", b""),
    ),
    "binary files (.bin) (a/1.bin).": ("bin", b""),
    "LMDB environments (a/1.mdb). LMDB environments: None has the first bytes of this format. Copy or download them "
    "again.": ("mdb", bytes(99)),
    "HDF5 files (a/1.h5). HDF5 files: None has the first bytes of this format. Copy or download them again.": (
        *("h5", bytes(99)),
    ),
    "files of unknown kind .xyz (a/1.xyz).": ("xyz", b"hello"),
    "files of unknown kind (a/1).": ("", b"hello"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_folder_without_images_says_what_it_contains_and_what_to_do(tmp_path: Path, text: str) -> None:
    suffix, data = REFUSED[text]
    for name in ("1", "2", "3"):
        put(tmp_path / "set/a", **{f"{name}{'.' if suffix else ''}{suffix}": data})
    assert refusal(tmp_path / "set") == f"{tmp_path}/set contains no readable images. It contains 3 files: 3 {text}"


def test_an_empty_folder_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert refusal(tmp_path / "set") == f"{tmp_path}/set contains no readable images. It is empty."


def test_unreadable_pictures_next_to_images_are_named(tmp_path: Path) -> None:
    put(tmp_path, cat__1DOTjpg=photo(1), dog__1DOTjpg=photo(2), dog__2DOTCR2=b"", dog__3DOTcr2=b"", oldDOTzip=b"PK")
    assert {
        "2 camera RAW images (dog/2.CR2) were left out. Develop them to JPEG or PNG.",
        "1 archive (old.zip) was left out. Unpack them, or pass a single one.",
    } <= set(open_source(tmp_path).notes)


def test_images_without_a_suffix_are_recognised_by_their_bytes(tmp_path: Path) -> None:
    put(tmp_path, cat__00001=photo(1), cat__00002=photo(2, "PNG"), dog__1DOTjpg_large=photo(3), dog__readme=b"hello")
    dataset = open_source(tmp_path)
    assert labels(dataset) == {"cat/00001.jpeg": "cat", "cat/00002.png": "cat", "dog/1.jpg_large.jpeg": "dog"}
    assert "3 images (cat/00001) recognised by content, because the suffix is missing or unknown." in dataset.notes
    assert dataset.splits["train"].read(0) == photo(1)


def test_zips_in_a_folder_are_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        with zipfile.ZipFile(tmp_path / f"{split}.zip", "w") as archive:
            for number, name in enumerate(("cat", "dog")):
                archive.writestr(f"{split}/{name}/{number}.jpg", photo(number))
    dataset = open_source(tmp_path)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 2, "test": 2}
    assert dataset.classes.ids == ("cat", "dog")
    assert "Archives were read as folders: test.zip, train.zip." in dataset.notes


def test_an_archive_next_to_a_readme_is_read_like_the_archive_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with zipfile.ZipFile(tmp_path / "set/archive.zip", "w") as archive:
        for number, name in enumerate(("cat", "dog")):
            archive.writestr(f"{name}/{number}.jpg", photo(number))
    put(tmp_path / "set", READMEDOTmd=b"hello", archiveDOTmd5=b"0")
    assert labels(open_source(tmp_path / "set")) == {"cat/0.jpg": "cat", "dog/1.jpg": "dog"}


def test_an_archive_per_class_is_read_like_a_folder_per_class(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as archive:
            info = tarfile.TarInfo("1.jpg")
            info.size = len(photo(number))
            archive.addfile(info, io.BytesIO(photo(number)))
    assert labels(open_source(tmp_path)) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}


def test_heic_is_decoded_as_pillow_heif_does(tmp_path: Path) -> None:
    put(tmp_path, cat__1DOTjpg=photo(1), cat__IMG_1DOTHEIC=heic(1), dog__2DOTheif=heic(2))
    dataset = open_source(tmp_path)
    assert dataset.notes[-1] == "2 HEIC images (cat/IMG_1.HEIC) will be decoded with pillow-heif."
    assert dataset.num_images == 3
    expected = Image.frombytes(
        "RGB", (32, 24), bytes(pillow_heif.open_heif(io.BytesIO(heic(1))).data), "raw", "RGB", 96
    )
    pixels = decode(heic(1))
    assert pixels.shape == (24, 32, 3)
    assert abs(pixels.astype(int) - array(expected)).max() <= 1


def test_damaged_heic_is_an_error_that_names_it() -> None:
    with pytest.raises(ImageError, match="damaged HEIF"):
        decode(heic(1)[:200])


def test_without_pillow_heif_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, cat__1DOTjpg=photo(1), dog__2DOTjpg=photo(2), dog__IMG_1DOTHEIC=heic(1))
    for module in ("evidence.kinds", "images.image", "source"):
        monkeypatch.setattr(f"tench.data.{module}.reads_heif", lambda: False)
    without = names.EXTENSIONS - names.HEIF_EXTENSIONS
    for module in ("evidence.kinds", "files.names", "evidence.folders"):
        monkeypatch.setattr(f"tench.data.{module}.EXTENSIONS", without)
    dataset = open_source(tmp_path)
    assert dataset.num_images == 2
    assert dataset.notes[-1] == (
        "1 HEIC image (dog/IMG_1.HEIC) was left out. Run pip install 'tench[interop]' to read them, or convert them "
        "to JPEG."
    )
    with pytest.raises(ImageError) as error:
        image.decode(heic(1))
    assert str(error.value) == "HEIC, which requires pillow-heif: pip install 'tench[interop]', or convert it"
