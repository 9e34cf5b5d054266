"""The files that `prepare` leaves next to the images it wrote."""

from pathlib import Path
from typing import get_args

import pytest

from tench.data.prepare.planning import LayoutName
from tench.data.prepare.prepare import prepare
from tench.data.source import open_source


@pytest.mark.parametrize("to", get_args(LayoutName))
def test_prepared_json_is_not_part_of_the_dataset(photo_folder: Path, tmp_path: Path, to: LayoutName) -> None:
    prepare(photo_folder, tmp_path / "set", to)
    found = open_source(tmp_path / "set", refresh=True)
    (tmp_path / "set/prepared.json").unlink()
    without = open_source(tmp_path / "set", refresh=True)
    assert (found.layout, found.notes, found.fingerprint) == (without.layout, without.notes, without.fingerprint)
    assert not any("prepared.json" in path for path, _, _ in found.stamp)
    source = open_source(photo_folder)
    assert {split: table.keys() for split, table in found.splits.items()} == {
        split: table.keys() for split, table in source.splits.items()
    }
