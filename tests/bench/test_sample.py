from pathlib import Path

import numpy as np
import pytest

from tench.bench.sample import choose, repeated
from tench.data.source import open_source
from tench.data.table import Table
from tench.input.views import PadCrop


@pytest.fixture
def table() -> Table:
    return open_source("synthetic:images=200,size=8").splits["train"]


def test_a_sample_contains_every_image_once_if_time_allows(table: Table) -> None:
    sample, images = choose(table, PadCrop(size=8, pad=1), 3, seconds=5.0)
    assert sample.keys() == table.keys()
    assert images >= len(table)


def test_a_sample_is_spread_over_the_table_if_time_is_short(table: Table) -> None:
    sample, images = choose(table, PadCrop(size=8, pad=1), 3, seconds=1e-9)
    assert images == len(sample) == 16
    assert sample.keys()[0] == table.key(0)
    assert sample.keys()[-1] == table.key(len(table) - 1)
    gaps = np.diff([table.keys().index(key) for key in sample.keys()])  # noqa: SIM118
    assert gaps.max() - gaps.min() <= 1


def test_a_long_pass_goes_through_each_image_equally_often(photo_folder: Path) -> None:
    table = open_source(photo_folder).splits["train"]
    for images in (1, 18, 40, 100):
        keys = repeated(table, images).keys()
        assert {keys.count(key) for key in table.keys()} == {max(1, round(images / 18))}  # noqa: SIM118
