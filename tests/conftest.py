"""Fixtures for all tests: the environment they run in, and small class folders of real photographs."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from tests.clock import Clock
from tests.data.photos import photo_file
from tests.own import CODE, OwnModule

SHARED_DATA = Path(__file__).parents[1] / "../shared/data"


# On a loaded machine, an example may take any time. The time limit of pytest-timeout still applies.
settings.register_profile("tench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tench")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Let torch use one thread, here and in the processes that tests start.

    On images of a few pixels, a second thread only costs time: a hundredfold if the cores are shared. Besides,
    pytest-xdist already runs a test on each core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _sigint_has_a_handler() -> Iterator[None]:
    """Restore the handler of SIGINT, which tests send to themselves and child processes.

    It is ignored if the tests run in a background job of a shell.
    """
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache folder of its own."""
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def own_module(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnModule]:
    """A module of the user's own code that only this test can import."""
    folder = tmp_path_factory.mktemp("own")
    name = f"own_{folder.name}"
    (folder / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(folder)
    yield OwnModule(name, folder / f"{name}.py")
    sys.modules.pop(name, None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that replaces time.monotonic; the test advances it."""
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the datasets in {SHARED_DATA}, which are not part of the repository")
    return SHARED_DATA.resolve()


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 24 real images of different sizes: 3 classes, with 6 images for train and 2 for val each.

    In train, roof/0.jpg is a grey JPEG, petal/1.jpg a CMYK JPEG and water/2.png a PNG.
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
