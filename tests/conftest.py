"""Data that tests share: photographs cut into a small class folder, and the sets that lie beside the repository."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.clock import Clock
from tests.data.photos import photo_file

SHARED_DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """For maps of a few pixels a second thread only waits, a hundred times as long where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a cache folder of its own."""
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What time.monotonic tells, for a test to move."""
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the data sets in {SHARED_DATA}, which are not part of the repository")
    return SHARED_DATA.resolve()


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 24 real images: 3 classes, 6 for train and 2 for val each, all of different sizes.

    roof/0.jpg is a grey JPEG, petal/1.jpg a CMYK JPEG, water/2.png a PNG; all in train.
    """
    folder = tmp_path_factory.mktemp("photos")
    parts = {"roof": ("china.jpg", 180, 60), "water": ("china.jpg", 30, 330), "petal": ("flower.jpg", 190, 120)}
    for name, (file, left, top) in parts.items():
        with Image.open(photo_file(file)) as photo:
            for number in range(8):
                width, height = 33 + 13 * number, 96 - 7 * number
                box = (left + 9 * number, top + 3 * number, left + 9 * number + width, top + 3 * number + height)
                image = photo.crop(box)
                modes = {("roof", 0): "L", ("petal", 1): "CMYK"}
                if mode := modes.get((name, number)):
                    image = image.convert(mode)
                suffix = "png" if (name, number) == ("water", 2) else "jpg"
                path = folder / ("train" if number < 6 else "val") / name / f"{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path, quality=90)
    return folder


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A copy of photo_folder that a test may change."""
    return Path(shutil.copytree(photo_folder, tmp_path / "photos"))
