"""`tench info` of weights. Sources are in tests/data/test_info.py."""

import json
from pathlib import Path

import pytest
import torch
from tests.weights.test_nnabla import written

from tench.cli.main import main
from tench.models import create


def test_a_file_of_nnabla_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "w.h5")
    monkeypatch.chdir(tmp_path)
    assert main(["info", "w.h5"]) == 0
    assert capsys.readouterr().out == (
        "w.h5: NNabla weights\n"
        "  network     nnabla:resnet18\n"
        "  tensors     102, 11,179,077 parameters\n"
        "  layout      nchw\n"
        "  images      224 px, 3 channels\n"
        "  assumed     resized to 256 px, bilinear\n"
        "              mean 0.485 0.456 0.406, std 0.229 0.224 0.225, of pixels from 0 to 1\n"
        "  classes     5, numbered\n"
        "  use         tench train SOURCE --weights w.h5\n"
        "              tench evaluate w.h5 SOURCE\n"
        "              tench predict w.h5 IMAGE\n"
        "              tench weights w.h5 DEST\n"
        "              tench weights w.h5 OUT.h5 --layout nchw|nhwc --channels 3|4\n"
    )


def test_a_state_dict_without_its_network_gets_suggestions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(create("resnet18", num_classes=3, image_size=224).state_dict(), tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    assert main(["info", "w.pth"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  network     not named in the file"
    assert lines[2].startswith("  may fit     ")
    assert "resnet18" in lines[2]
    assert "              tench evaluate w.pth -a ARCH SOURCE" in lines
    assert main(["info", "w.pth", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["system"] == "PyTorch"


def test_options_of_sources_are_refused_for_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    assert main(["info", "w.pth", "--preview", "p.png"]) == 2
    assert (
        capsys.readouterr().err
        == "tench info: w.pth contains weights. For these, only --json applies; leave the other options out.\n"
    )
