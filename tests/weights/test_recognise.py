"""Weights and images are told apart by their content."""

import gzip
import json
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.support.processes import run_python
from tests.weights.test_nnabla import written

from tench.weights.recognise import hub_folder, is_tench_weights, is_weights


@pytest.mark.parametrize("name", ["w.pth", "w.pth.tar", "w.ckpt", "pytorch_model.bin", "w"])
@pytest.mark.parametrize("new", [True, False])
def test_files_of_torch_save_are_weights_whatever_their_name(tmp_path: Path, name: str, new: bool) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / name, _use_new_zipfile_serialization=new)
    assert is_weights(tmp_path / name)


def test_files_of_other_programs_are_weights(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "w.safetensors")
    written(tmp_path / "w.h5")
    (tmp_path / "net-symbol.json").write_text("{}")
    (tmp_path / "net-0000.params").write_bytes(b"anything")
    for name in ("w.safetensors", "w.h5", "net-symbol.json", "net-0000.params"):
        assert is_weights(tmp_path / name), name


def test_datasets_are_not_weights(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["images"] = np.zeros((2, 8, 8, 3), np.uint8)
    with tarfile.open(tmp_path / "images.tar", "w"):
        pass
    with gzip.open(tmp_path / "images.gz", "w") as zipped:
        zipped.write(b"PK")
    np.savez(tmp_path / "images.npz", images=np.zeros(2))
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    (tmp_path / "empty.pth").touch()
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "images/cat").mkdir(parents=True)
    for name in ("config.json", "model.json", "model.safetensors"):
        (tmp_path / "images" / name).write_text("{}")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("images/data.pkl", "")
    for path in tmp_path.iterdir():
        assert not is_weights(path), path.name
    assert not is_weights(tmp_path / "nothing")


def test_a_zip_of_images_is_told_apart_by_its_first_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing a million members would take seconds."""
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("cat/1.png", "")
        archive.writestr("archive/data.pkl", "")
        archive.writestr("archive/version", "")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert not is_weights(tmp_path / "images.zip")


def test_an_archive_of_nnabla_is_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.nnp", "w") as archive:
        archive.writestr("nnp_version.txt", "0.1")
    assert is_weights(tmp_path / "w.nnp")


def test_a_folder_with_weights_is_of_the_hub_or_of_tench(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert hub_folder(tmp_path) is None
    for key in ("architecture", "architectures"):
        (tmp_path / "config.json").write_text(json.dumps({key: []}))
        assert hub_folder(tmp_path) == hub_folder(tmp_path / "model.safetensors") == tmp_path
        assert is_weights(tmp_path)
        assert is_weights(tmp_path / "config.json")
    for name in ("model.json", "best.safetensors"):
        (tmp_path / name).touch()
    assert hub_folder(tmp_path) is None
    assert is_weights(tmp_path)


def test_other_files_beside_the_weights_of_tench_are_not_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "model.json").touch()
    (tmp_path / "other.pth").touch()
    assert is_tench_weights(tmp_path)
    assert not is_tench_weights(tmp_path / "other.pth")
    assert is_tench_weights(tmp_path / "last.ckpt")


def test_recognising_needs_no_torch() -> None:
    code = """
        import pathlib, sys
        from tench.weights.recognise import is_weights
        print(is_weights(pathlib.Path(".")), "torch" in sys.modules)
    """
    assert run_python(code).stdout == "False False\n"
