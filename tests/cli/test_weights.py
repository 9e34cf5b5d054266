import os
import signal
from pathlib import Path

import pytest
import torch
from tests.support.processes import run_python
from tests.weights.test_nnabla import written

from tench.cli.main import main
from tench.models import create


def test_a_file_becomes_a_folder_and_its_preprocessing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "w.h5")
    monkeypatch.chdir(tmp_path)
    assert main(["weights", "w.h5", "out"]) == 0
    assert capsys.readouterr().out == (
        "Written: out\n"
        "  network        nnabla:resnet18, 5 classes\n"
        "  images         224 px after resizing to 256 px, bilinear\n"
        "  channels       3\n"
        "  mean, std      0.485 0.456 0.406; 0.229 0.224 0.225, of pixels from 0 to 1\n"
        "To measure it: tench evaluate out SOURCE\n"
    )


def test_a_layout_can_be_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "w.h5")
    monkeypatch.chdir(tmp_path)
    assert main("weights w.h5 out.h5 --layout nhwc --channels 4".split()) == 0
    assert capsys.readouterr().out == "Written: out.h5 (nhwc, 4 input channels)\n"


def test_a_file_of_another_program_is_evaluated_and_used_directly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = create("resnet20", num_classes=10, image_size=32, channels=3)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert main(["evaluate", str(tmp_path / "w.pth"), "-a", "resnet20", "digits", "--json"]) == 0
    assert '"images": 359' in capsys.readouterr().out


def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.h5").write_bytes(written(tmp_path / "whole.h5").read_bytes()[:9000])
    monkeypatch.chdir(tmp_path)
    assert main(["weights", "w.h5", "out"]) == 1
    assert capsys.readouterr().err.startswith("tench weights: w.h5")
    assert main(["weights", "none.h5", "out"]) == 2
    assert capsys.readouterr().err == (
        "tench weights: none.h5: no such run directory or weights file. For weights that torchvision or timm publish, "
        "use torchvision:NAME or timm:NAME.\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["w.h5", "whole.h5"]


def test_a_terminated_conversion_leaves_nothing(tmp_path: Path) -> None:
    """The process stops while it verifies the folder, which takes the longest."""
    torch.save(create("resnet18", num_classes=3, image_size=224).state_dict(), tmp_path / "w.pth")
    code = """
        import os, signal, sys
        from tench.cli.main import main
        from tench.weights import own

        own.save = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(main(["weights", "w.pth", "out", "-a", "resnet18"]))
    """
    done = run_python(code, cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert os.listdir(tmp_path) == ["w.pth"]
