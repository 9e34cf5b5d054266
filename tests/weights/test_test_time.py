from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.data.photos import Pixels, array, part
from torch import nn

from tench.compat import import_torchvision
from tench.data.images.picture import Decoded
from tench.data.source import open_source
from tench.errors import UsageError
from tench.evaluation.measure import evaluation_order, measure
from tench.input.loader import Loader
from tench.input.views import EvalView, TestTime
from tench.weights import test_time as module  # pytest would collect its functions as tests
from tench.weights.own import Normalise

CPU = torch.device("cpu")
NORMALISE = Normalise((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), CPU)


def network(num_classes: int = 10) -> nn.Module:
    """A small network for any image size, whose logits depend on where things are in the image."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        head = nn.Linear(32, num_classes)
        nn.init.normal_(head.weight)
        return nn.Sequential(*layers, nn.BatchNorm1d(32), head).eval()


def photos(width: int = 24, height: int = 24, count: int = 4) -> torch.Tensor:
    pixels = np.stack([array(part(width, height, number)) for number in range(count)])
    return NORMALISE(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def functional() -> Any:
    import_torchvision()
    from torchvision.transforms.v2 import functional

    return functional


@torch.inference_mode()
def answers(form: TestTime, images: torch.Tensor, size: int | None = None) -> torch.Tensor:
    found = module.at_test_time(network(), form, size=size)(images)
    assert isinstance(found, torch.Tensor)
    return found


def test_without_a_form_the_network_is_returned_unchanged() -> None:
    net = network()
    assert module.at_test_time(net, "none") is net


@torch.inference_mode()
@pytest.mark.parametrize(("width", "height"), [(24, 24), (17, 30)])
def test_mirror_averages_the_logits_of_the_image_and_its_mirror_image(width: int, height: int) -> None:
    images = photos(width, height)
    expected = torch.stack([network()(images), network()(functional().hflip(images))]).mean(0)
    assert torch.allclose(answers("mirror", images), expected, atol=1e-5)
    assert not torch.allclose(network()(images), expected, atol=1e-2)


@torch.inference_mode()
@pytest.mark.parametrize(("width", "height"), [(24, 24), (17, 30)])
def test_mirror_shift_gives_half_the_weight_to_copies_shifted_diagonally_by_a_pixel(width: int, height: int) -> None:
    f, images = functional(), photos(width, height)
    bordered = f.pad(images, [1], padding_mode="reflect")
    shifted = [f.crop(bordered, by, by, height, width) for by in (0, 2)]
    assert torch.equal(shifted[0][..., 1:, 1:], images[..., :-1, :-1])  # shifted to the lower right
    assert torch.equal(shifted[1][..., :-1, :-1], images[..., 1:, 1:])
    weights = {0.25: [images], 0.125: shifted}
    views = [(weight, view) for weight, ones in weights.items() for one in ones for view in (one, f.hflip(one))]
    assert sum(weight for weight, _ in views) == 1
    expected = torch.stack([weight * network()(view) for weight, view in views]).sum(0)
    assert torch.allclose(answers("mirror-shift", images), expected, atol=1e-5)
    assert not torch.allclose(answers("mirror", images), expected, atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize(("side", "size"), [(24, 20), (25, 20), (24, 12)])
def test_ten_crop_averages_the_probabilities_of_torchvisions_ten_crops(side: int, size: int) -> None:
    images = photos(side, side)
    crops = functional().ten_crop(images, [size, size])
    expected = torch.stack([network()(crop).softmax(dim=1) for crop in crops]).mean(0)
    found = answers("ten-crop", images, size)
    assert torch.allclose(found.exp(), expected, atol=1e-5)
    labels = torch.arange(4)
    assert F.cross_entropy(found, labels).item() == pytest.approx(F.nll_loss(expected.log(), labels).item(), rel=1e-5)


@pytest.mark.parametrize("form", ["mirror", "ten-crop"])
def test_an_image_and_its_mirror_get_the_same_answer(form: TestTime) -> None:
    images = photos()
    assert torch.allclose(answers(form, images, 20), answers(form, images.flip(-1), 20), atol=1e-5)


@pytest.mark.parametrize("form", get_args(TestTime))
def test_an_image_gets_the_same_answer_in_any_batch_and_is_not_modified(form: TestTime) -> None:
    images = photos()
    before = images.clone()
    together = answers(form, images, 20)
    assert torch.equal(images, before)
    assert together.shape == (4, 10)
    for number in range(4):
        assert torch.allclose(answers(form, images[number : number + 1], 20), together[number : number + 1], atol=1e-5)


def central_square(image: Pixels, view: EvalView) -> Pixels:
    out = np.zeros((view.size, view.size, 3), np.uint8)
    view.render(Decoded(image), np.zeros(0), out)
    return out


@pytest.mark.parametrize(("width", "height"), [(60, 45), (40, 70)])
def test_ten_crop_uses_the_central_square_whose_centre_is_the_evaluation_view(width: int, height: int) -> None:
    view = EvalView(size=28, resize=32, interpolation="bicubic")
    wide = module.test_time_view(view, "ten-crop")
    assert wide == EvalView(size=32, resize=32, interpolation="bicubic")
    image = array(part(width, height))
    assert np.array_equal(central_square(image, wide)[2:-2, 2:-2], central_square(image, view))


@pytest.mark.parametrize("form", ["none", "mirror", "mirror-shift"])
def test_other_forms_use_the_evaluation_view(form: TestTime) -> None:
    view = EvalView(size=28, resize=32)
    assert module.test_time_view(view, form) == view


@pytest.mark.parametrize("form", get_args(TestTime))
def test_a_dataset_is_evaluated_with_the_averaged_answers(photo_folder: Path, form: TestTime) -> None:
    table = open_source(photo_folder).splits["train"]
    view = EvalView(size=28, resize=32)
    shown = module.test_time_view(view, form)
    net = module.at_test_time(network(3), form, size=view.size)
    with Loader(table, shown, evaluation_order(table, 5), channels=3, threads=1) as loader:
        found = measure(net, loader.batches(0), len(table), NORMALISE)
        batches = list(loader.batches(0))
    with torch.inference_mode():
        logits = torch.cat([net(NORMALISE(batch.images)) for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    assert found.images == 18
    assert found.top1 == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize("form", get_args(TestTime))
@pytest.mark.parametrize("training", [False, True])
def test_the_mode_of_the_network_is_kept_and_passed_on(form: TestTime, training: bool) -> None:
    net = network().train(training)
    averaged = module.at_test_time(net, form, size=20)
    assert averaged.training == net.training == training
    assert not averaged.eval()(photos()).isnan().any()
    assert not net.training
    assert list(averaged.parameters()) == list(net.parameters())


def test_the_error_about_an_unknown_form_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"^Unknown test-time augmentation 'rotate'\. Known: none, mirror, "):
        module.at_test_time(network(), "rotate")  # type: ignore[arg-type]


def test_ten_crops_without_a_size_are_refused() -> None:
    with pytest.raises(ValueError, match="ten-crop needs size, the side of a crop"):
        module.at_test_time(network(), "ten-crop")


@pytest.mark.parametrize("size", [24, 32])
def test_ten_crops_that_would_not_differ_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"crops of {size} pixels from images of 24 pixels would all be the same"):
        answers("ten-crop", photos(), size)
