import argparse
import os
import re
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tench.compat import import_torchvision
from tench.errors import TenchError
from tench.weights import files
from tench.weights.files import as_float32, read_state


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.Sequential(OrderedDict(features=features, classifier=nn.Sequential(nn.Linear(4, 2))))


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype, name


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar", ".ckpt", ".bin"])
def test_a_torch_state_dict_is_read_with_any_of_its_suffixes(tmp_path: Path, network: nn.Module, suffix: str) -> None:
    torch.save(network.state_dict(), tmp_path / f"w{suffix}")
    assert_same(read_state(tmp_path / f"w{suffix}").state, network.state_dict())


def test_safetensors_are_read(tmp_path: Path, network: nn.Module) -> None:
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    found = read_state(tmp_path / "w.safetensors").state
    assert_same({name: found[name] for name in network.state_dict()}, network.state_dict())


WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "pytorch/examples": lambda state: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "best_acc1": torch.tensor(71.5),
        "optimizer": {"state": {}, "param_groups": []},
    },
    "pytorch/examples' AlexNet and VGG": lambda state: {
        "arch": "vgg11",
        "state_dict": {name.replace("features.", "features.module."): tensor for name, tensor in state.items()},
    },
    "torchvision's script": lambda state: {
        "model": state,
        "epoch": 3,
        "args": argparse.Namespace(model="resnet18", lr=0.1),
    },
    "only an average": lambda state: {
        "model_ema": {"n_averaged": torch.tensor(5)} | {f"module.{name}": tensor for name, tensor in state.items()}
    },
    "compiled in parallel": lambda state: {
        "model_state": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    },
    "a module around the network": lambda state: {
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()}
    },
    "pytorch-cifar": lambda state: {
        "net": {f"module.{name}": tensor for name, tensor in state.items()},
        "acc": 93.0,
        "epoch": 199,
    },
    "Lightning": lambda state: {
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {f"net.{name}": tensor for name, tensor in state.items()},
        "hyper_parameters": {"lr": 0.1},
    },
    "one in another": lambda state: {"network": {"state_dict": state}},
}


AVERAGED: dict[str, Callable[[dict[str, Tensor], dict[str, Tensor]], Any]] = {
    "timm's train.py": lambda state, average: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": state,
        "args": argparse.Namespace(model="resnet18"),
        "state_dict_ema": average,
    },
    "torchvision's script": lambda state, average: {
        "model": state,
        "model_ema": {"n_averaged": torch.tensor(5)} | {f"module.{name}": tensor for name, tensor in average.items()},
    },
    "tench": lambda state, average: {"arch": "resnet20", "model": state, "average": average, "step": 7},
}


@pytest.mark.parametrize(
    ("trainer", "keys"),
    [
        ("timm's train.py", ("state_dict", "state_dict_ema")),
        ("torchvision's script", ("model", "model_ema")),
        ("tench", ("model", "average")),
    ],
)
def test_an_average_is_used_instead_of_the_weights_and_a_note_says_so(
    tmp_path: Path, network: nn.Module, trainer: str, keys: tuple[str, str]
) -> None:
    average = {name: tensor * 2 for name, tensor in network.state_dict().items()}
    torch.save(AVERAGED[trainer](network.state_dict(), average), tmp_path / "w.pth")
    found = read_state(tmp_path / "w.pth")
    assert_same(found.state, average)
    assert found.notes == (
        f"The file has weights ({keys[0]}) and their running average ({keys[1]}); the average is used.",
    )


@pytest.mark.parametrize("average", [None, {}, {"average": [torch.ones(2)]}])
def test_without_an_average_by_name_the_weights_are_used(tmp_path: Path, network: nn.Module, average: Any) -> None:
    """Checkpoints of tench have no average, or that of a lookahead."""
    torch.save({"model": network.state_dict(), "average": average}, tmp_path / "w.pth")
    found = read_state(tmp_path / "w.pth")
    assert_same(found.state, network.state_dict())
    assert found.notes == ()


@pytest.mark.parametrize("trainer", WRAPPED)
def test_wrappers_and_prefixes_are_removed(tmp_path: Path, network: nn.Module, trainer: str) -> None:
    torch.save(WRAPPED[trainer](network.state_dict()), tmp_path / "w.pth")
    assert_same(read_state(tmp_path / "w.pth").state, network.state_dict())


def test_losses_and_metrics_in_a_checkpoint_of_lightning_are_left_out(tmp_path: Path, network: nn.Module) -> None:
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    state |= {"criterion.weight": torch.ones(3), "val_confusion.confmat": torch.zeros(3, 3, dtype=torch.int64)}
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": state}, tmp_path / "w.ckpt")
    found = read_state(tmp_path / "w.ckpt")
    assert_same(found.state, network.state_dict())
    assert found.notes == (
        f"{tmp_path / 'w.ckpt'}: left out criterion.weight, val_confusion.confmat, not part of the network.",
    )


def test_a_lightning_checkpoint_without_exactly_one_network_attribute_is_kept_whole(tmp_path: Path) -> None:
    for state in ({"conv.weight": torch.ones(2)}, {"model.weight": torch.ones(2), "net.weight": torch.ones(2)}):
        torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": state}, tmp_path / "w.ckpt")
        found = read_state(tmp_path / "w.ckpt")
        assert_same(found.state, state)
        assert found.notes == ()


def test_the_options_of_an_older_lightning_module_need_no_lightning(tmp_path: Path, network: nn.Module) -> None:
    """AttributeDict, a subclass of dict, is in the pickle by its name in Lightning."""
    kind = type("AttributeDict", (dict,), {"__module__": "pytorch_lightning.utilities.parsing"})
    module = types.ModuleType("pytorch_lightning.utilities.parsing")
    module.AttributeDict = kind  # type: ignore[attr-defined]
    packages = {"pytorch_lightning": module, "pytorch_lightning.utilities": module, module.__name__: module}
    with pytest.MonkeyPatch.context() as patch:
        for name in packages:
            patch.setitem(sys.modules, name, module)
        content = {"state_dict": network.state_dict(), "hyper_parameters": kind(lr=0.1)}
        torch.save(content, tmp_path / "w.ckpt")
    assert_same(read_state(tmp_path / "w.ckpt").state, network.state_dict())


def test_a_prefix_of_only_some_names_is_kept(tmp_path: Path) -> None:
    state = {"model.weight": torch.ones(2), "head.weight": torch.ones(3)}
    torch.save(state, tmp_path / "w.pth")
    assert_same(read_state(tmp_path / "w.pth").state, state)


def test_a_prefix_of_only_some_names_within_a_part_is_kept(tmp_path: Path) -> None:
    state = {"stages.0.module.weight": torch.ones(2), "stages.module.weight": torch.ones(2), "stages.1": torch.ones(3)}
    torch.save(state, tmp_path / "w.pth")
    assert_same(read_state(tmp_path / "w.pth").state, state)


def test_the_name_of_the_network_in_the_file_is_returned(tmp_path: Path, network: nn.Module) -> None:
    torch.save(WRAPPED["pytorch/examples"](network.state_dict()), tmp_path / "w.pth.tar")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth.tar").arch == "resnet18"
    assert read_state(tmp_path / "w.pth").arch is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_precisions_become_fp32_and_integers_are_unchanged(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"w": torch.tensor([0.1, -3]).to(dtype), "n": torch.tensor(7)}, tmp_path / "w.pth")
    found = read_state(tmp_path / "w.pth").state
    assert found["w"].tolist() == torch.tensor([0.1, -3]).to(dtype).float().tolist()
    assert (found["w"].dtype, found["n"].dtype) == (torch.float32, torch.int64)


def test_fp32_is_not_copied() -> None:
    tensor = torch.ones(3)
    assert as_float32({"w": tensor})["w"] is tensor


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "w.pth", tmp_path / "was-run"
    torch.save({"state_dict": {}, "extra": Bomb(target)}, path)
    with pytest.raises(TenchError) as refused:
        read_state(path)
    assert not target.exists()
    message = str(refused.value)
    assert message.startswith(f"{path} contains more than weights (")
    assert message.endswith(
        "). Reading that could run code, so it was not read. If you trust the file, load it with PyTorch and save only "
        'the weights: torch.save(model.state_dict(), "weights.pth").'
    )
    torch.load(path, weights_only=False)  # the pickle really runs code
    assert target.exists()


def test_a_pickled_model_is_refused_with_the_name_of_its_class(tmp_path: Path, network: nn.Module) -> None:
    torch.save(network, tmp_path / "w.pth")
    with pytest.raises(
        TenchError, match=r"w\.pth contains more than weights \(torch\.nn\.modules\.container\.Sequential"
    ):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no weights but a text that goes on for a while", r"Unsupported operand \d+"),
        (b"", "EOFError"),
        (b"PK\x03\x04 the start of an archive", "PytorchStreamReader failed .*"),
    ],
)
def test_a_file_without_weights_is_refused_without_advice_to_read_it_unsafely(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(TenchError) as refused:
        read_state(tmp_path / "w.pth")
    found = re.fullmatch(
        r".*w\.pth: cannot be read as weights \((.+)\)\. Pass a state dict saved by torch\.save, or a \.safetensors "
        r"file\.",
        str(refused.value),
    )
    assert found is not None
    assert re.fullmatch(reason, found[1])
    assert "weights_only" not in found[1]


def test_a_safetensors_file_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise MemoryError("Cannot allocate memory (os error 12)")

    monkeypatch.setattr("safetensors.torch.load_file", full)
    (tmp_path / "w.safetensors").write_bytes(bytes(40))
    with pytest.raises(TenchError) as error:
        files.read_safetensors(tmp_path / "w.safetensors")
    path = tmp_path / "w.safetensors"
    assert str(error.value) == f"{path}: its 40 bytes do not fit in memory. Free some memory, or copy the file again."


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(TenchError, match=r"safetensors: not a complete safetensors file \(.+\)\. Copy it again\."):
        read_state(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            {"epoch": 3, "weights": {}},
            r"'epoch' is a value of type int, and none of the keys state_dict, model, ",
        ),
        ({"state_dict": {}}, "contains nothing, not weights by name"),
        ({0: torch.ones(2)}, "0 is a value of type Tensor"),
        (torch.ones(3), "contains a value of type Tensor, not weights by name"),
    ],
)
def test_the_error_about_a_file_without_named_weights_describes_its_content(
    tmp_path: Path, content: Any, says: str
) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(TenchError, match=rf"w\.pth.* {says}.* Pass a state dict\."):
        read_state(tmp_path / "w.pth")


def test_a_file_that_contains_itself_is_refused(tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["state_dict"] = circle
    other: dict[str, Any] = {"model": {"state_dict": {}}}
    other["model"]["state_dict"]["model"] = other
    listed: dict[str, Any] = {"weights": []}
    listed["weights"].append(listed)
    for number, content in enumerate((circle, other, listed)):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(TenchError) as refused:
            read_state(path)
        assert str(refused.value).startswith(f"{path} contains no weights by name: ")


def test_a_file_nested_a_hundred_thousand_deep_is_refused(tmp_path: Path) -> None:
    """Written as opcodes, because pickle itself cannot nest so deeply: lists in lists, each with a memo."""
    path = tmp_path / "deep.pth"
    for body in (b"(" * 100_000 + b"l" * 100_000, b"]" + b"q\x00h\x00a" * 100_000):
        path.write_bytes(b"\x80\x02" + body + b".")
        with pytest.raises(TenchError, match=re.escape(f"{path}: ")):
            read_state(path)


def test_a_compressed_or_overlapping_archive_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    torch.save({"weight": torch.zeros(1000, 1000)}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert (tmp_path / "bomb.pth").stat().st_size < 10_000
    with pytest.raises(TenchError) as refused:
        read_state(tmp_path / "bomb.pth")
    assert str(refused.value) == (
        f"{tmp_path / 'bomb.pth'}: cannot be read as weights (it is compressed, which torch.save never does). Pass a "
        "state dict saved by torch.save, or a .safetensors file."
    )


def test_a_tensor_with_more_values_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expanded.pth"
    for tensor in (torch.zeros(1).half().expand(10**6, 10**6), torch.zeros(3, 3).to_sparse()):
        torch.save({"conv.weight": tensor}, path)
        with pytest.raises(TenchError) as refused:
            read_state(path)
        assert str(refused.value) == (
            f"{path}: 'conv.weight' is not a plain tensor with all its values. Pass a state dict."
        )


def test_a_pipe_is_refused_without_reading_it(tmp_path: Path) -> None:
    for name in ("pipe.pth", "pipe.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(TenchError) as refused:
            read_state(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name}: not a regular file. Name a file."


@pytest.mark.filterwarnings("ignore")  # those of Lightning's own code
def test_a_checkpoint_that_lightning_writes_gives_the_network(tmp_path: Path, network: nn.Module) -> None:
    import_torchvision()  # Lightning imports it
    import lightning

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net: Any = network
            self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
            self.register_buffer("confusion", torch.zeros(2, 2))

        def training_step(self, batch: Any, index: int) -> Any:
            return self.criterion(self.net[1](self.net[0](batch[0]).mean(dim=(2, 3))), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

        def train_dataloader(self) -> Any:
            images = torch.utils.data.TensorDataset(torch.randn(4, 3, 6, 4), torch.arange(4) % 2)
            return torch.utils.data.DataLoader(images, 4)

    options: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **options)
    trainer.fit(Module(0.1))
    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    found = read_state(tmp_path / "last.ckpt")
    assert_same(found.state, network.state_dict())
    assert found.notes == (f"{tmp_path / 'last.ckpt'}: left out confusion, criterion.weight, not part of the network.",)
