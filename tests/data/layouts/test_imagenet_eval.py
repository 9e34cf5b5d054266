import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.support.datasets import reloaded, tree_of
from tests.support.errors import error_of
from tests.support.files import named, write_folder

from tench.data.formats.wordnet import imagenet, subset
from tench.data.layouts import imagenet_eval
from tench.data.table import Dataset

V2 = "imagenetv2-matched-frequency-format-val"
RESTRICTED = (
    "The 200 classes are a subset of ImageNet's 1,000. A model's logits are restricted to them before the largest is "
    "chosen."
)


def lay_out(path: Path, files: Iterable[str]) -> Path:
    return write_folder(path, named(files))


def pack_tar(path: Path, files: Iterable[str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in files:
            info = tarfile.TarInfo(f"./{file}")
            info.size = len(file)
            tar.addfile(info, io.BytesIO(file.encode()))
    return path


def pack_zip(path: Path, files: Iterable[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(file, file)
    return path


Packer = Callable[[Path, Iterable[str]], Path]
PACKERS: list[Packer] = [lay_out, pack_tar, pack_zip]


def recognised(path: Path) -> bool:
    return imagenet_eval.recognise(tree_of(path))


def read(path: Path) -> Dataset:
    tree = tree_of(path)
    assert imagenet_eval.recognise(tree)
    return reloaded(imagenet_eval.read(tree), imagenet_eval.NAME, path)


def listing(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """The class of each key, and the name of its file according to its bytes."""
    assert list(dataset.splits) == ["test"]
    rows = dataset.splits["test"]
    return {rows.key(row): (dataset.classes.ids[rows.labels[row]], rows.read(row).decode()) for row in range(len(rows))}


refusal = error_of(read)


def v2_files() -> list[str]:
    return [f"{V2}/{index}/{hash((index, number)):x}.jpeg" for index in range(1000) for number in (0, 1)]


def wnid_files(folder: str, ids: Iterable[str]) -> list[str]:
    return [f"{folder}/{wnid}/{wnid}_{number}.jpg" for wnid in ids for number in (0, 1)]


@pytest.mark.parametrize("pack", PACKERS)
def test_the_folders_of_v2_are_sorted_as_numbers_not_as_text(tmp_path: Path, pack: Packer) -> None:
    files = v2_files()
    dataset = read(pack(tmp_path / "imagenetv2-matched-frequency.tar.gz", files))  # a plain tar, as published
    assert dataset.classes.ids == imagenet()
    assert not dataset.classes.numbered
    expected = {}
    for file in files:
        wnid = imagenet()[int(file.split("/")[1])]
        expected[f"{wnid}/{file.split('/')[2]}"] = (wnid, file)
    assert listing(dataset) == expected
    assert dataset.notes == ("ImageNet-V2: 2,000 images found, 10,000 expected.",)


def test_the_folder_of_v2_and_its_parent_give_the_same_dataset(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", [f"{V2}/2/a.jpeg", f"{V2}/10/b.jpeg"])
    above, itself = read(path), read(path / V2)
    assert {key: name for key, (name, _) in listing(above).items()} == {
        f"{imagenet()[2]}/a.jpeg": imagenet()[2],
        f"{imagenet()[10]}/b.jpeg": imagenet()[10],
    }
    assert itself.fingerprint == above.fingerprint
    assert above.notes[1] == "998 of the 1,000 classes have no images: 0, 1, 3, 4, 5, ... (998 in all)."


@pytest.mark.parametrize(
    "folder", ["imagenetv2-threshold0.7-format-val", "imagenetv2-0.7-format-val", "imagenetv2-top-images-format-val"]
)
def test_all_variants_of_v2_are_recognised(tmp_path: Path, folder: str) -> None:
    assert len(listing(read(lay_out(tmp_path / "set", [f"{folder}/0/a.jpeg", f"{folder}/999/b.jpeg"])))) == 2


@pytest.mark.parametrize("folder", ["1000", "007", "-1", "n01440764", "x"])
def test_a_folder_of_v2_that_is_not_an_index_is_an_error(tmp_path: Path, folder: str) -> None:
    path = lay_out(tmp_path / "set", [f"{V2}/0/a.jpeg", f"{V2}/{folder}/b.jpeg"])
    assert refusal(path) == (
        f"{path}/{V2}/{folder} is not a class of ImageNet-V2, whose folders are the numbers 0 to 999. Unpack the "
        "archive again, or move this folder away."
    )


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize(("letter", "num_images"), [("a", "7,500"), ("r", "30,000")])
def test_imagenet_a_and_r_have_their_200_classes(tmp_path: Path, pack: Packer, letter: str, num_images: str) -> None:
    folder = f"imagenet-{letter}"
    files = wnid_files(folder, subset(letter))
    dataset = read(pack(tmp_path / f"{folder}.tar", [*files, f"{folder}/README.txt"]))
    assert dataset.classes.ids == subset(letter)
    assert listing(dataset) == {file.split("/", 1)[1]: (file.split("/")[1], file) for file in files}
    assert dataset.notes == (
        f"ImageNet-{letter.upper()}: 400 images found, {num_images} expected.",
        RESTRICTED,
        "Left out files that are not images: README.txt.",
    )


def test_class_names_are_wordnets(tmp_path: Path) -> None:
    dataset = read(lay_out(tmp_path / "imagenet-r", ["n01443537/x.jpg"]))
    assert dataset.classes.names[dataset.classes.ids.index("n01443537")] == "goldfish, Carassius auratus"


@pytest.mark.parametrize("letter", ["a", "r"])
@pytest.mark.parametrize("place", ["", "downloaded/"])
def test_the_200_classes_are_recognised_for_any_folder_name(tmp_path: Path, letter: str, place: str) -> None:
    files = [f"{place}{wnid}/1.jpg" for wnid in subset(letter)]
    dataset = read(lay_out(tmp_path / "some", files))
    assert len(listing(dataset)) == 200
    assert dataset.notes[0].startswith(f"ImageNet-{letter.upper()}: 200 images found")
    lay_out(tmp_path / "some", [f"{place}n99999999/1.jpg"])
    assert not recognised(tmp_path / "some")


def test_classes_without_images_remain_classes(tmp_path: Path) -> None:
    some = subset("r")[5:]
    dataset = read(lay_out(tmp_path / "ImageNet-R", [f"{wnid}/1.jpg" for wnid in some]))
    assert dataset.classes.ids == subset("r")
    missing = ", ".join(subset("r")[:5])
    assert dataset.notes[1] == f"5 of the 200 classes have no images: {missing}."


@pytest.mark.parametrize("folder", ["n01440764", "docs"])
def test_a_folder_that_is_not_a_class_of_the_set_is_an_error(tmp_path: Path, folder: str) -> None:
    assert "n01440764" not in subset("a")
    path = lay_out(tmp_path / "set", [f"imagenet-a/{subset('a')[0]}/1.jpg", f"imagenet-a/{folder}/1.jpg"])
    assert refusal(path) == (
        f"{path}/imagenet-a/{folder} is not a class of ImageNet-A, whose folders are the WordNet ids of its 200 "
        "classes. Unpack the archive again, or move this folder away."
    )


@pytest.mark.parametrize("pack", PACKERS)
def test_sketch_has_the_thousand_classes(tmp_path: Path, pack: Packer) -> None:
    files = [f"sketch/{wnid}/sketch_{number}.JPEG" for number, wnid in enumerate(imagenet())]
    dataset = read(pack(tmp_path / "ImageNet-Sketch.zip", files))
    assert dataset.classes.ids == imagenet()
    assert listing(dataset) == {file.split("/", 1)[1]: (file.split("/")[1], file) for file in files}
    assert dataset.notes == ("ImageNet-Sketch: 1,000 images found, 50,889 expected.",)


def test_images_next_to_the_set_are_counted(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", ["sketch/n01440764/1.JPEG", "teaser.png", "more/2.jpg", "list.txt"])
    dataset = read(path)
    assert list(listing(dataset)) == ["n01440764/1.JPEG"]
    assert dataset.notes[-1] == "Left out 2 images outside sketch."


def test_images_in_folders_inside_a_class_folder_belong_to_the_class(tmp_path: Path) -> None:
    dataset = read(lay_out(tmp_path / "sketch", ["n01440764/1.JPEG", "n01440764/more/1.JPEG", "top.txt"]))
    assert list(listing(dataset)) == ["n01440764/1.JPEG", "n01440764/more/1.JPEG"]
    assert dataset.notes[-1] == "Left out files that are not images: top.txt."


def test_an_image_directly_in_the_sets_folder_is_an_error(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "sketch", ["n01440764/1.JPEG", "top.jpg"])
    assert refusal(path) == (f"{path}/top.jpg is not in a class folder, so its class is unknown. Move it away.")


def test_several_sets_are_an_error_that_names_them(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "set", [f"imagenet-a/{subset('a')[0]}/1.jpg", f"{V2}/0/1.jpeg"])
    assert refusal(path) == (
        f"{path} contains {path}/imagenet-a (ImageNet-A) and {path}/{V2} (ImageNet-V2). Pass one of them."
    )


def test_a_set_without_images_is_an_error(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "imagenet-a", [f"{subset('a')[0]}/1.txt"])
    assert refusal(path) == f"{path} contains no images. Unpack the archive again."


@pytest.mark.parametrize(
    "files",
    [
        ["sketch/dog/1.jpg", "sketch/cat/1.jpg"],
        ["imagenet-a/cat/1.jpg"],
        [f"{V2}/cat/1.jpg"],
        [f"{V2}.txt"],
        ["imagenet-a"],
        ["0/1.jpg", "1/1.jpg"],
        ["n01440764/1.jpg", "n01443537/1.jpg"],
        ["train/imagenet-a/n01498041/1.jpg"],
    ],
)
def test_other_folders_are_not_recognised(tmp_path: Path, files: list[str]) -> None:
    assert not recognised(lay_out(tmp_path / "set", files))
    assert not recognised(pack_tar(tmp_path / "set.tar", files))
