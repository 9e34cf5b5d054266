"""Class folders written by `tench prepare`, read by torchvision and by PyTorch's ImageNet example."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.interop import sets
from tests.interop.conftest import ENVIRONMENTS, Prepare
from tests.interop.sets import Made, Stored
from tests.support.processes import run

from tench.compat import import_torchvision

EXAMPLE = "pytorch_imagenet_main.py"
"""imagenet/main.py of pytorch/examples, in the folder of the environments."""
RUN = "import runpy, sys; from tench.compat import import_torchvision; import_torchvision(); del sys.argv[0]; "
RUN += "runpy.run_path(sys.argv[0], run_name='__main__')"
"""Runs a script even if torchvision's compiled extension does not match torch."""


def image_folder(folder: Path, **options: Any) -> Any:
    return import_torchvision().datasets.ImageFolder(str(folder), **options)


def compare(folder: Path, images: Sequence[Stored], classes: Sequence[str]) -> None:
    """Check that ImageFolder finds every image once, with its bytes and class. classes: the sorted folder names."""
    found = image_folder(folder, loader=lambda path: Path(path).read_bytes())
    assert found.classes == sorted(classes)
    by_key = {Path(path).relative_to(folder).as_posix(): found[row] for row, (path, _) in enumerate(found.samples)}
    assert len(by_key) == len(found) == len(images)
    for image in images:
        data, label = by_key[image.key]
        assert data == image.data
        assert found.classes[label] == image.class_id


@pytest.mark.parametrize("link", ["hard", "symbolic", "copy"])
def test_image_folder_reads_every_photograph(photos: Made, prepare: Prepare, link: str) -> None:
    folder = prepare(photos, "--to", "folder", "--link", link)
    for split, images in photos:
        compare(folder / split, images, photos.classes)
        labels = dict(image_folder(folder / split).samples)
        assert all(labels[str(folder / split / image.key)] == image.label for image in images)
        for picture, row in zip(image_folder(folder / split), images, strict=True):
            assert picture[0].size == row.opened().size


def test_image_folder_reads_unusual_names(photos: Made, prepare: Prepare, tmp_path: Path) -> None:
    odd = sets.odd_names(tmp_path / "odd", photos)
    compare(prepare(odd, "--to", "folder") / "train", odd.images["train"], odd.classes)


def test_image_folder_sorts_classes_even_if_classes_txt_has_another_order(
    photos: Made, prepare: Prepare, tmp_path: Path
) -> None:
    unsorted = sets.listed(tmp_path / "unsorted", photos, ("water", "petal", "roof"))
    folder = prepare(unsorted, "--to", "folder")
    compare(folder / "train", unsorted.images["train"], unsorted.classes)
    assert [line.split("\t")[0] for line in (folder / "classes.txt").read_text().splitlines()] == unsorted.classes


@pytest.mark.interop(EXAMPLE)
def test_pytorchs_imagenet_example_trains_on_our_folders(photos: Made, prepare: Prepare, tmp_path: Path) -> None:
    folder = prepare(photos, "--to", "folder")
    options = "-a squeezenet1_1 --no-accel -j 0 -b 6 -p 1 --epochs 1 --lr 0.001"
    command = [sys.executable, "-c", RUN, str(ENVIRONMENTS / EXAMPLE), *options.split(), str(folder)]
    done = run(command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    batches = re.findall(r"^(Epoch|Test): .*?\[(\d+)/(\d+)\]", done.stdout, re.MULTILINE)
    # Batches of 6 images each.
    assert batches == [("Epoch", "1", "3"), ("Epoch", "2", "3"), ("Epoch", "3", "3"), ("Test", "1", "1")]
    # The accuracy is not checked: with so few images, it is chance.
    assert re.search(r"^ \* +Acc@1 \d+\.\d+ Acc@5 \d+\.\d+$", done.stdout, re.MULTILINE)
    assert (tmp_path / "checkpoint.pth.tar").exists()
