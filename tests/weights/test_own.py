import dataclasses
import errno
import io
import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.models import create
from tench.weights.own import NOT_FINITE, ModelCard, Normalise, load, save
from tench.weights.prediction import Predictions

CARD = ModelCard(
    arch="resnet20",
    classes=Classes.of(["n01", "n02", "n03"], ["cat", "dog", "fish"]),
    channels=3,
    image_size=12,
    eval_resize=14,
    interpolation="bicubic",
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    metrics={"epoch": 3, "top1": 0.75},
)


@pytest.fixture
def network() -> nn.Module:
    """A network after a few batches, so that its batch norms have non-default statistics."""
    torch.manual_seed(0)
    network = create("resnet20", num_classes=3, image_size=12, channels=3)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 12, 12) * 2 + 1)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # not in its stub


@pytest.fixture
def saved(tmp_path: Path, network: nn.Module) -> Path:
    save(tmp_path, network, CARD)
    return tmp_path


def test_saved_weights_give_the_same_logits(saved: Path, network: nn.Module) -> None:
    images = torch.randn(4, 3, 12, 12)
    with torch.no_grad():
        expected = network.eval()(images)
        torch.testing.assert_close(load(saved, "cpu").module(images), expected, rtol=1e-4, atol=1e-5)


def test_a_loaded_network_is_in_evaluation_mode_with_its_saved_statistics(saved: Path, network: nn.Module) -> None:
    module = load(saved, "cpu").module
    assert not any(part.training for part in module.modules())
    expected = network.state_dict()
    assert "running_mean" in " ".join(expected)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_the_card_is_loaded_with_the_weights(saved: Path) -> None:
    classifier = load(saved, "cpu")
    assert classifier.card == CARD
    assert classifier.classes.names == ("cat", "dog", "fish")
    assert (classifier.view.size, classifier.view.resize, classifier.view.interpolation) == (12, 14, "bicubic")


def test_weights_are_an_ordinary_safetensors_file(saved: Path, network: nn.Module) -> None:
    stored = load_file(saved / "best.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == {
        name: tuple(tensor.shape) for name, tensor in network.state_dict().items()
    }


def test_tensors_that_share_memory_are_saved_under_each_name_and_shared_after_loading(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, arch="timm:coat_lite_tiny", image_size=32, eval_resize=36)
    torch.manual_seed(0)
    network = card.create_module().eval()
    names = ["serial_blocks1.0.cpe.proj.weight", "serial_blocks1.1.cpe.proj.weight"]
    assert network.get_parameter(names[0]) is network.get_parameter(names[1])
    save(tmp_path, network, card)
    assert load_file(tmp_path / "best.safetensors").keys() == network.state_dict().keys()
    loaded = load(tmp_path, "cpu").module
    assert loaded.get_parameter(names[0]) is loaded.get_parameter(names[1])
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), network(images), rtol=0, atol=0)


def test_the_path_may_be_that_of_the_weights_file(saved: Path) -> None:
    (saved / "best.safetensors").rename(saved / "flowers.safetensors")
    assert load(saved / "flowers.safetensors", "cpu").card == CARD


def test_images_of_any_size_get_probabilities(saved: Path) -> None:
    classifier = load(saved, "cpu")
    images = [np.full((height, 20, 3), 99, np.uint8) for height in (14, 40)]
    found = classifier.probabilities(images)
    assert found.shape == (2, 3)
    assert found.sum(axis=1) == pytest.approx([1, 1])
    assert found[0] == pytest.approx(found[1], abs=1e-6)  # both are cropped to the same square
    assert classifier.predict([]).shape == (0, 3)


def test_normalise_matches_torchvision() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    expected = (pixels.double() / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.4, 0.5, 0.6]
    ).view(3, 1, 1)
    found = Normalise(CARD.mean, CARD.std, torch.device("cpu"))(pixels)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_with_bgr_normalise_matches_the_mean_and_scale_of_edgeailite() -> None:
    """edgeailite's preprocessing for BGR networks: reverse the channels, then (x - mean) * scale."""
    mean, scale = np.array([103.53, 116.28, 123.675]), np.array([0.017429, 0.017507, 0.017125])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    expected = (pixels[..., ::-1] - mean) * scale
    normalise = Normalise(tuple(mean / 255), tuple(1 / (255 * scale)), torch.device("cpu"), channel_order="bgr")
    found = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert np.abs(found.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-5
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_bgr_network_gets_bgr_input(tmp_path: Path, network: nn.Module, saved: Path) -> None:
    save(tmp_path / "bgr", network, dataclasses.replace(CARD, channel_order="bgr"))
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    found = load(tmp_path / "bgr", "cpu").probabilities(image)
    reversed_ = np.ascontiguousarray(image[..., ::-1])
    assert found == pytest.approx(load(saved, "cpu").probabilities(reversed_), abs=1e-6)
    assert found != pytest.approx(load(saved, "cpu").probabilities(image), abs=1e-4)


def test_a_model_without_a_channel_order_is_rgb(saved: Path) -> None:
    card = json.loads((saved / "model.json").read_text())
    assert card.pop("channel_order") == "rgb"
    (saved / "model.json").write_text(json.dumps(card))
    assert load(saved, "cpu").card.channel_order == "rgb"


def test_the_error_about_a_missing_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        load(tmp_path / "gone")
    assert str(refused.value) == f"{tmp_path / 'gone'}: no such run directory or weights file."


@pytest.mark.parametrize(
    ("missing", "what"), [("best.safetensors", "the weights"), ("model.json", "the description of the model")]
)
def test_the_error_about_a_missing_file_says_what_it_should_contain(saved: Path, missing: str, what: str) -> None:
    (saved / missing).unlink()
    with pytest.raises(UsageError) as refused:
        load(saved)
    assert str(refused.value) == (
        f"{saved / missing} is missing; it should contain {what}. Pass the directory of a run that has finished an "
        "epoch, or a .safetensors file with model.json in the same folder."
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_weights_are_refused(saved: Path, damage: str) -> None:
    path = saved / "best.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-100], "empty": b"", "text": b"these are no weights"}[damage])
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu")
    assert str(refused.value).startswith(f"{path}: not a complete safetensors file (")
    assert str(refused.value).endswith("). Copy it again.")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"arch": "resnet20"}', "not json", '{"classes": {"ids": ["a", "a"], "names": ["a", "b"]}}'],
)
def test_a_card_that_describes_no_model_is_refused(saved: Path, text: str) -> None:
    (saved / "model.json").write_text(text)
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu")
    assert str(refused.value).startswith(f"{saved / 'model.json'} does not describe a model (")


def test_a_card_with_an_unknown_entry_is_refused(saved: Path) -> None:
    path = saved / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    with pytest.raises(TenchError, match=r"does not describe a model \(.*colour"):
        load(saved, "cpu")


def test_weights_of_another_architecture_are_refused_naming_the_first_difference(
    saved: Path, network: nn.Module
) -> None:
    save(saved, network, dataclasses.replace(CARD, arch="mlp"))
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu")
    message = str(refused.value)
    assert message.startswith(
        f"{saved / 'best.safetensors'}: the weights do not fit mlp for these classes: 1.weight is missing, and "
    )
    assert message.endswith(
        " more differences. They belong to another architecture. Name that architecture, or start a new run."
    )


def test_weights_for_other_classes_are_refused_with_both_shapes(saved: Path, network: nn.Module) -> None:
    save(saved, network, dataclasses.replace(CARD, classes=Classes.numbered_to(4)))
    with pytest.raises(TenchError, match=r"has shape \(3, 64\) instead of \(4, 64\), and 1 more difference\."):
        load(saved, "cpu")


def test_an_unknown_architecture_is_named(saved: Path, network: nn.Module) -> None:
    save(saved, network, dataclasses.replace(CARD, arch="resnet21"))
    with pytest.raises(UsageError, match="No network is called 'resnet21'"):
        load(saved, "cpu")


def test_a_failed_write_keeps_the_previous_weights(saved: Path, network: nn.Module) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as on a full disk
    try:
        with pytest.raises(TenchError, match=r"best\.safetensors: cannot be written: the file would be too "):
            save(saved, network, dataclasses.replace(CARD, metrics={}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_metadata_from_other_programs_is_ignored(saved: Path) -> None:
    path = saved / "best.safetensors"
    save_file(load_file(path), path, metadata={"format": "pt"})
    assert load(saved, "cpu").card == CARD


@pytest.mark.parametrize("count", [63, 64, 65, 130])
def test_many_images_are_classified_in_batches_and_each_gets_its_own_prediction(saved: Path, count: int) -> None:
    classifier = load(saved, "cpu")
    sizes: list[int] = []
    classifier.module.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    images = np.random.default_rng(0).integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    found = classifier.predict(images)
    assert found.shape == (count, 3)
    assert sum(sizes) == count
    assert max(sizes) <= 64
    for index in (0, 62, count - 1):
        assert found.probabilities[index] == pytest.approx(classifier.probabilities(images[index])[0], abs=1e-6)


def test_predictions_are_a_sequence_with_the_probabilities_of_all_classes(saved: Path, tmp_path: Path) -> None:
    classifier = load(saved, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 14, 14, 3), dtype=np.uint8)
    found = classifier.predict([images[0], b"no image", images[2]], top=2)
    assert (len(found), found.shape, found.probabilities.dtype.name) == (3, (3, 3), "float32")
    assert [one.image for one in found] == ["images[0]", "images[1]", "images[2]"]
    expected = classifier.probabilities(images[0])[0]
    best = np.argsort(-expected)[:2]
    assert [guess.id for guess in found[0].predictions] == [("n01", "n02", "n03")[index] for index in best]
    assert [guess.name for guess in found[0].predictions] == [("cat", "dog", "fish")[index] for index in best]
    assert [guess.probability for guess in found[0].predictions] == pytest.approx(expected[best].tolist())
    assert found[0].best == found[0].predictions[0]
    assert (found[1].predictions, found[1].error) == (
        (),
        "not an image: starts with bytes b'no image', no known image format",
    )
    assert np.isnan(found.probabilities[1]).all()
    with pytest.raises(ValueError, match=r"^images\[1\]: not an image: "):
        _ = found[1].best
    assert isinstance(found[1:], Predictions)
    assert found[1:].shape == (2, 3)


def test_probabilities_of_an_image_that_cannot_be_decoded_are_an_error_that_names_it(saved: Path) -> None:
    image = np.zeros((14, 14, 3), np.uint8)
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu").probabilities([image, b"no image"])
    assert str(refused.value) == "images[1]: not an image: starts with bytes b'no image', no known image format"


@pytest.mark.parametrize("method", ["predict", "stream"])
def test_a_number_of_classes_below_one_is_refused(saved: Path, method: str) -> None:
    with pytest.raises(UsageError) as refused:
        getattr(load(saved, "cpu"), method)(np.zeros((14, 14, 3), np.uint8), top=0)
    assert str(refused.value) == "top must be at least 1, got 0."


@pytest.mark.parametrize("name", ["best.safetensors", "model.json"])
def test_an_unreadable_file_is_not_reported_as_missing(saved: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of the system is faked, because root may read every file."""
    really_open = io.open

    def refuse(file: object, *arguments: Any, **more: Any) -> Any:
        if Path(str(file)).name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return really_open(file, *arguments, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu")
    assert str(refused.value) == f"{saved / name}: cannot be read (Permission denied)."


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("arch", 5, "arch is 5, but should be text"),
        ("channels", [], "channels is [], but should be a whole number"),
        ("channels", 4, "channels is 4, but should be 1 or 3"),
        ("image_size", None, "image_size is None, but should be a whole number"),
        ("image_size", 10**9, "image_size is 1000000000, but should be 1 to 16,384"),
        ("image_size", 0, "image_size is 0, but should be 1 to 16,384"),
        ("eval_resize", 5, "eval_resize is 5, but should be image_size (12) to 32,768"),
        ("interpolation", [], "interpolation is [], but should be bilinear or bicubic"),
        ("test_time", "twice", "test_time is 'twice', but should be none or mirror or mirror-shift or ten-crop"),
        ("channel_order", "gbr", "channel_order is 'gbr', but should be rgb or bgr"),
        ("mean", [], "mean is [], but should be 3 numbers"),
        ("mean", [1, 2, float("inf")], "mean is [1, 2, inf], but should be a list of numbers"),
        ("std", {}, "std is {}, but should be a list of numbers"),
        ("std", [0.0, 0.0, 0.0], "std is [0.0, 0.0, 0.0], but should be 1e-06 to 1e+06"),
        ("std", [1, 1, -1], "std is [1.0, 1.0, -1.0], but should be 1e-06 to 1e+06"),
        ("options", [], "options is [], but should be keys and values"),
        ("options", {"dropout": 2}, "options is [2.0], but should be 0 to less than 1"),
        (
            "options",
            {"speed": 2},
            "options.'speed' is not known. Known: dropout, drop_path, strides, norm_eps, fit_stem, blurpool",
        ),
        ("trained_on", 5, "trained_on is 5, but should be keys and values"),
        ("trained_on", {"source": 5}, "trained_on.source is 5, but should be text or a list of texts"),
        ("metrics", {"top1": "high"}, "metrics is {'top1': 'high'}, but should be keys and values"),
        ("classes", {"ids": ["a"], "names": []}, "classes is not valid: 1 class ids but 0 class names"),
        ("classes", {"ids": [], "names": []}, "classes is [], but should be at least one class"),
        ("classes", {"ids": [1], "names": ["a"]}, "classes.ids is [1], but should be a list of texts"),
    ],
)
def test_a_card_with_other_values_is_refused_by_key(saved: Path, key: str, value: Any, reason: str) -> None:
    path = saved / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu")
    assert str(refused.value) == f"{path} does not describe a model ({reason})."


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(saved: Path, value: float) -> None:
    path = saved / "best.safetensors"
    state = load_file(path)
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    state[name][0, 0, 0, 0] = value
    save_file(state, path)
    with pytest.raises(TenchError) as refused:
        load(saved, "cpu")
    assert str(refused.value) == (
        f"{path}: 1 of {len(state)} tensors has NaN or infinite values: {name}. The training that wrote them diverged, "
        "or the file is damaged. Use other weights."
    )


def test_integer_weights_are_refused_and_half_precision_weights_accepted(saved: Path) -> None:
    path = saved / "best.safetensors"
    state = load_file(path)
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, path)
    assert load(saved, "cpu").module is not None
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    save_file(state | {name: state[name].to(torch.int64)}, path)
    with pytest.raises(TenchError, match=rf"{name} has type torch\.int64 instead of torch\.float32"):
        load(saved, "cpu")


def test_an_image_whose_logits_overflow_has_no_prediction_but_the_others_do(saved: Path) -> None:
    classifier = load(saved, "cpu")

    class Overflow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            means = images.mean(dim=(1, 2, 3))
            return torch.stack([means, torch.where(means > 1, torch.inf, 0.0), means], dim=1) * self.scale

    broken = dataclasses.replace(classifier, module=Overflow())
    dark, light = np.zeros((14, 14, 3), np.uint8), np.full((14, 14, 3), 255, np.uint8)
    assert np.isfinite(broken.probabilities([dark, dark])).all()
    assert [one.error for one in broken.predict([dark, light, dark])] == [None, NOT_FINITE, None]
    with pytest.raises(TenchError, match=r"^images\[1\]: the network's logits are not finite \(NaN or infinity\)"):
        broken.probabilities([dark, light, dark])
