"""What `tench.weights_info` says about the files of each program."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.exporting.test_to_timm import written as written_run
from tests.support.errors import error_of
from tests.weights.test_mxnet_params import array_bytes, file_bytes
from tests.weights.test_nnabla import written

from tench.compat import import_torchvision
from tench.exporting.convert import convert_weights
from tench.weights.describe import weights_info

models: Any = import_torchvision().models


def test_a_state_dict_says_which_networks_it_fits(tmp_path: Path) -> None:
    network = models.resnet18(weights=None, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = weights_info(tmp_path / "w.pth")
    assert (found.system, found.arch, found.num_classes, found.problem) == ("PyTorch", None, None, None)
    assert {"resnet18", "timm:resnet18"} <= set(found.candidates)
    assert found.num_tensors == len(network.state_dict())
    assert found.num_parameters == sum(one.numel() for one in network.parameters())
    assert f"tench evaluate {tmp_path / 'w.pth'} -a ARCH SOURCE" in found.commands


def test_commands_need_no_arch_if_the_checkpoint_names_its_network(tmp_path: Path) -> None:
    state = models.resnet18(weights=None, num_classes=3).state_dict()
    torch.save({"arch": "resnet18", "state_dict": state}, tmp_path / "w.pth")
    found = weights_info(tmp_path / "w.pth")
    assert (found.arch, found.candidates) == ("resnet18", ())
    assert f"tench evaluate {tmp_path / 'w.pth'} SOURCE" in found.commands


def test_weights_that_do_not_fit_the_network_they_name_have_a_problem(tmp_path: Path) -> None:
    state = models.resnet18(weights=None, num_classes=3).state_dict()
    torch.save({"arch": "resnet50", "state_dict": state}, tmp_path / "w.pth")
    found = weights_info(tmp_path / "w.pth")
    assert found.problem is not None
    assert "its weights do not fit resnet50: " in found.problem
    assert found.commands == ()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_file_of_nnabla_has_a_network_and_a_layout(tmp_path: Path, layout: Any) -> None:
    written(tmp_path / "w.h5")
    convert_weights(tmp_path / "w.h5", tmp_path / "other.h5", layout=layout)
    found = weights_info(tmp_path / "other.h5")
    assert (found.system, found.arch, found.layout) == ("NNabla", "nnabla:resnet18", layout)
    assert (found.num_classes, found.image_size, found.channels) == (5, 224, 3)
    assert found.commands[-1].endswith("OUT.h5 --layout nchw|nhwc --channels 3|4")


def test_arrays_without_a_network_are_described_with_the_problem(tmp_path: Path) -> None:
    (tmp_path / "w.params").write_bytes(file_bytes([array_bytes(np.zeros((2, 3), np.float32))], [b"arg:w"]))
    found = weights_info(tmp_path / "w.params")
    assert (found.system, found.arch, found.num_tensors, found.num_parameters, found.commands) == (
        "MXNet",
        None,
        1,
        6,
        (),
    )
    assert found.problem is not None
    assert "has the arrays of a network that it does not describe" in found.problem


def test_folders_of_tench_and_timm_have_classes(tmp_path: Path) -> None:
    written_run(tmp_path / "run", "resnet18", 128)
    convert_weights(tmp_path / "run", tmp_path / "out", to="timm")
    for name, system, arch in (("run", "tench", "resnet18"), ("out", "timm", "timm:resnet18")):
        found = weights_info(tmp_path / name)
        assert (found.system, found.arch, found.image_size) == (system, arch, 128)
        assert found.classes is not None
        assert found.classes.names == ("ant", "bee", "cat")
        assert json.loads(json.dumps(found.to_json()))["classes"] == ["ant", "bee", "cat"]


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("resnet")
    assert error_of(weights_info)(tmp_path / "notes.txt") == (
        f"{tmp_path / 'notes.txt'} does not contain weights that tench can read."
    )
    assert error_of(weights_info)(tmp_path / "none.pth") == f"{tmp_path / 'none.pth'}: no such file or folder."
