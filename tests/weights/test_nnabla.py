"""NNabla's parameter files. NNabla 1.39 wrote those in shared/golden and computed the logits next to them."""

import lzma
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tests.support.errors import error_of

from tench.models import create
from tench.weights.nnabla import read_nnabla
from tench.weights.nnabla_h5 import Layout, converted, in_channels_of, layout_of, read_h5, write_h5

GOLDEN = Path(__file__).parents[2] / "../shared/golden/nnabla"
FILES = sorted(path.name for path in GOLDEN.glob("*.h5.xz"))
needs_golden = pytest.mark.skipif(not FILES, reason=f"needs the files of NNabla in {GOLDEN}")


def golden(name: str, folder: Path) -> Path:
    path = folder / name.removesuffix(".xz")
    path.write_bytes(lzma.decompress((GOLDEN / name).read_bytes()))
    return path


def written(path: Path, arch: str = "resnet18", num_classes: int = 5) -> Path:
    """Write a file of a network with random weights as NNabla does."""
    torch.manual_seed(0)
    network = create(f"nnabla:{arch}", num_classes=num_classes, image_size=224)
    first = "conv1" if arch.startswith(("res", "se")) else "first-conv"
    roles = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}
    with h5py.File(path, "w") as file:
        index = 0
        for number, (_, layer) in enumerate(network.named_modules()):
            own = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}
            is_norm = isinstance(layer, torch.nn.BatchNorm2d)
            for role, tensor in own.items():
                if role == "num_batches_tracked":
                    continue
                value = tensor.detach().numpy()
                if is_norm:
                    name, value = f"layer{number}/bn/{roles[role]}", value.reshape(1, -1, 1, 1)
                else:
                    name = f"{first}/{number}/conv/{'W' if role == 'weight' else 'b'}"
                    value = value if value.ndim != 2 else value.reshape(*value.shape, 1, 1)
                file[name] = value
                file[name].attrs["index"], file[name].attrs["need_grad"] = index, not role.startswith("running")
                index += 1
    return path


@needs_golden
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_nnabla_gives_its_logits(name: str, tmp_path: Path) -> None:
    arch = name.split(".")[0]
    start = read_nnabla(golden(name, tmp_path))
    assert (start.arch, start.num_classes, start.channels) == (f"nnabla:{arch}", 1000, 3)
    assert start.image_size is not None
    assert start.arch is not None
    network = create(start.arch, num_classes=1000, image_size=start.image_size).eval()
    network.load_state_dict(start.state)
    images = np.random.default_rng(11).standard_normal((2, 3, start.image_size, start.image_size)).astype("float32")
    with torch.inference_mode():
        found = network(torch.from_numpy(images)).numpy()
    expected = np.load(GOLDEN / f"{arch}.logits.npy")
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


@needs_golden
@pytest.mark.parametrize(("layout", "channels", "kind"), [("nhwc", 3, "nhwc"), ("nhwc", 4, "nhwc4")])
def test_a_converted_file_has_the_values_of_nnablas_own_converter(
    layout: Layout, channels: int, kind: str, tmp_path: Path
) -> None:
    ours = converted(read_h5(golden("resnet18.nchw.h5.xz", tmp_path)), layout, channels)
    theirs = read_h5(golden(f"resnet18.{kind}.h5.xz", tmp_path))
    assert [(one.name, one.index, one.need_grad) for one in ours] == [
        (one.name, one.index, one.need_grad) for one in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        values = one.values[..., :3] if one.name == "conv1/conv/W" else one.values
        expected = other.values[..., :3] if one.name == "conv1/conv/W" else other.values
        assert np.array_equal(values, expected), one.name


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v1", "se_resnet50", "efficientnet_b0"])
def test_there_and_back_again_every_dataset_is_the_same(arch: str, tmp_path: Path) -> None:
    first = read_h5(written(tmp_path / "nchw.h5", arch))
    write_h5(tmp_path / "nhwc4.h5", converted(first, "nhwc", 4))
    middle = read_h5(tmp_path / "nhwc4.h5")
    assert (layout_of(middle), in_channels_of(middle)) == ("nhwc", 4)
    write_h5(tmp_path / "back.h5", converted(middle, "nchw", 3))
    last = read_h5(tmp_path / "back.h5")
    for one, other in zip(first, last, strict=True):
        assert (one.name, one.index, one.need_grad) == (other.name, other.index, other.need_grad)
        assert one.values.dtype == other.values.dtype
        assert one.values.tobytes() == other.values.tobytes()


@pytest.mark.parametrize(("layout", "channels"), [("nchw", 3), ("nchw", 4), ("nhwc", 3), ("nhwc", 4)])
def test_the_layout_and_a_fourth_channel_are_recognised_by_content(
    layout: Layout, channels: int, tmp_path: Path
) -> None:
    path = written(tmp_path / "first.h5")
    expected = read_nnabla(path).state
    write_h5(tmp_path / "other.h5", converted(read_h5(path), layout, channels))
    found = read_nnabla(tmp_path / "other.h5").state
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_network_and_its_classes_follow_from_the_shapes(tmp_path: Path) -> None:
    start = read_nnabla(written(tmp_path / "w.h5", "mobilenet_v3_small", 7), None)
    assert (start.arch, start.num_classes, start.image_size, start.eval_resize) == (
        "nnabla:mobilenet_v3_small",
        7,
        224,
        256,
    )


def test_a_file_of_another_network_is_refused_with_the_first_difference(tmp_path: Path) -> None:
    path = written(tmp_path / "w.h5")
    text = error_of(read_nnabla)(path, "resnet34")
    assert text.startswith(f"{path}: its weights do not fit nnabla:resnet34 (resnet34: ")
    assert error_of(read_nnabla)(path, "resnet19").startswith(
        "NNabla has no network 'resnet19'. Did you mean 'resnet18'"
    )


def test_hdf5_files_with_other_content_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["x/W"] = np.zeros((2, 2), np.float32)
    assert error_of(read_nnabla)(path) == (
        f"{path}: 'x/W' has no attribute index or need_grad, so this is not a parameter file of NNabla."
    )
    with h5py.File(path, "w"):
        pass
    assert error_of(read_nnabla)(path) == f"{path} contains no parameters."


def test_truncated_files_are_refused_wherever_they_end(tmp_path: Path) -> None:
    whole = written(tmp_path / "w.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for end in (100, 3000, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:end])
        text = error_of(read_nnabla)(path)
        assert text.startswith(str(path))
        assert "runcated" in text or "damaged" in text
