from pathlib import Path

import numpy as np
import pytest

from tench.bench.stages import Clock, decode_pass, read_pass, view_pass
from tench.bench.stages import _timed as timed
from tench.bench.stages import _TimedPicture as TimedPicture
from tench.data.images.image import ImageError
from tench.data.images.picture import open_picture
from tench.data.source import open_source
from tench.data.table import Table
from tench.input.augment import Augmented, Cutout, Lighting
from tench.input.draws import uniforms
from tench.input.resize_crop import ResizeCrop
from tench.input.views import PadCrop, RandomResizedCrop, View

CROP = RandomResizedCrop(size=32)
VIEWS: list[View] = [
    CROP,
    ResizeCrop(size=32, short_side=(40, 60)),
    PadCrop(size=32, pad=4),
    Augmented(CROP, (Lighting(std=0.1), Cutout(side=8))),
]


@pytest.fixture
def table(photo_folder: Path) -> Table:
    return open_source(photo_folder).splits["train"]


def test_each_pass_goes_through_every_image(table: Table) -> None:
    assert read_pass(table) == decode_pass(table, 3) == view_pass(table, CROP, 3, 0, Clock()) == 18


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_a_timed_view_gives_the_same_pixels(view: View, table: Table) -> None:
    draws = uniforms(0, 0, np.arange(len(table)), view.num_draws)
    for row in range(len(table)):
        picture = open_picture(table, row, table.read(row), 3)
        plain, clocked = np.zeros((2, 32, 32, 3), np.uint8)
        view.render(picture, draws[row], plain)
        clock = Clock()
        timed(view, clock).render(TimedPicture(picture, clock), draws[row], clocked)
        np.testing.assert_array_equal(clocked, plain)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_the_shares_of_the_existing_stages_add_up_to_1(view: View, table: Table) -> None:
    clock = Clock()
    view_pass(table, view, 3, 0, clock)
    shares = clock.shares()
    assert list(shares) == ["read", "decode", "resize", *(["augment"] if isinstance(view, Augmented) else [])]
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0


def test_a_bad_image_is_named(tmp_path: Path, table: Table) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.jpg").write_bytes(table.read(3))
    (tmp_path / "b" / "0.jpg").write_bytes(table.read(3)[:-200])
    broken = open_source(tmp_path).splits["train"]
    with pytest.raises(ImageError, match=r"b/0\.jpg: truncated JPEG"):
        decode_pass(broken, 3)
    with pytest.raises(ImageError, match=r"b/0\.jpg: truncated JPEG"):
        view_pass(broken, CROP, 3, 0, Clock())
