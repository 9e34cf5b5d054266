"""Inputs that once ended in a traceback or a crash, as small as they can be made."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tench.data.files.tree import open_tree
from tench.data.layouts import LAYOUTS
from tench.data.source import open_source
from tench.errors import TenchError


def test_the_header_of_an_array_that_ends_within_a_bracket(tmp_path: Path) -> None:
    """numpy's own repair of old headers raises tokenize.TokenError."""
    path = tmp_path / "set.npz"
    np.savez(path, train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.arange(2))
    path.write_bytes(path.read_bytes().replace(b"(2, 8, 8), }", b"(2, 8, 8, \0 "))
    with pytest.raises(TenchError, match="its header is not that of a NumPy array"):
        open_source(path)


def test_an_archive_without_members(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    assert not any(layout.recognise(open_tree(path, tmp_path / "spool")) for layout in LAYOUTS)
