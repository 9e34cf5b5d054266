"""Inputs that once caused a traceback or a crash, reduced to the smallest that still did."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.seeds import encoded

from tench.data.files.tree import open_tree
from tench.data.layouts import LAYOUTS
from tench.data.source import open_source
from tench.errors import TenchError


def test_an_array_header_that_ends_within_a_bracket_is_refused(tmp_path: Path) -> None:
    """numpy's own repair of old headers raises tokenize.TokenError."""
    path = tmp_path / "set.npz"
    np.savez(path, train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.arange(2))
    path.write_bytes(path.read_bytes().replace(b"(2, 8, 8), }", b"(2, 8, 8, \0 "))
    with pytest.raises(TenchError, match="its header is not that of a NumPy array"):
        open_source(path)


def test_no_layout_recognises_an_archive_without_members(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    assert not any(layout.recognise(open_tree(path, tmp_path / "spool")) for layout in LAYOUTS)


def test_an_archive_with_a_file_and_a_folder_of_the_same_name_is_read(tmp_path: Path) -> None:
    """The file was recognised as an image, and its new name clashed with that of the folder."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("train", encoded())
        for name in ("train/ant/1.jpg", "train/bee/2.jpg"):
            archive.writestr(name, encoded())
    assert open_source(tmp_path / "set.zip").splits["train"].keys() == ["ant/1.jpg", "bee/2.jpg"]
