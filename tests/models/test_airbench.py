import numpy as np
import pytest
import torch

from tench.errors import UsageError
from tench.models import create, describe
from tench.models.airbench import Airbench, whitening_filters


@pytest.mark.parametrize(
    ("arch", "widths", "convs"), [("airbench94", (64, 256, 256), 2), ("airbench96", (128, 384, 512), 3)]
)
def test_the_number_of_parameters_follows_from_the_description(arch: str, widths: tuple[int, ...], convs: int) -> None:
    expected, width = 24 * 12 + 24, 24  # 2x2 filters of 3 channels, and their biases
    for stage in widths:
        expected += 9 * width * stage + (convs - 1) * 9 * stage * stage + convs * 2 * stage
        width = stage
    assert describe(arch).parameters == expected + 10 * width


def test_scales_of_norms_and_the_whitening_filters_are_not_trained() -> None:
    network = create("airbench94", num_classes=10, image_size=32)
    fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert fixed == {"whiten.weight", *(f"stage{s}.norms.{n}.weight" for s in (1, 2, 3) for n in (0, 1))}


def test_whitened_patches_are_uncorrelated_with_variance_1() -> None:
    images = torch.nn.functional.avg_pool2d(torch.randn(64, 3, 33, 33, generator=torch.manual_seed(0)), 2, 1)
    responses = torch.nn.functional.conv2d(images, whitening_filters(images)[:12])
    flat = responses.permute(1, 0, 2, 3).reshape(12, -1)
    torch.testing.assert_close(flat @ flat.T / flat.shape[1], torch.eye(12), atol=0.02, rtol=0)


def test_the_second_half_of_the_filters_is_the_negated_first_and_the_largest_variance_comes_first() -> None:
    images = torch.randn(16, 3, 8, 8, generator=torch.manual_seed(1)).cumsum(3)
    filters = whitening_filters(images)
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[:12], -filters[12:])
    norms = filters[:12].flatten(1).norm(dim=1)
    assert torch.equal(norms, norms.sort().values)  # each direction is divided by its standard deviation


def test_convolutions_start_as_the_identity_on_their_first_channels() -> None:
    network = create("airbench94", num_classes=10, image_size=32)
    assert isinstance(network, Airbench)
    conv = network.get_submodule("stage1.convs.0")
    x = torch.randn(1, 24, 5, 5)
    torch.testing.assert_close(conv(x)[:, :24], x)


def test_the_logits_are_one_ninth_of_the_heads_output() -> None:
    network = create("airbench96", num_classes=10, image_size=32).eval()
    seen: list[torch.Tensor] = []
    network.get_submodule("head").register_forward_hook(lambda _module, _in, out: seen.append(out))
    logits = network(torch.randn(2, 3, 32, 32))
    np.testing.assert_allclose(logits.detach(), seen[0].detach() / 9, rtol=1e-6)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 64), (3, 9)])
def test_other_sizes_and_channels_work(channels: int, size: int) -> None:
    network = create("airbench94", num_classes=4, image_size=size, channels=channels)
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 4)


def test_an_image_that_is_too_small_is_refused_with_the_smallest_size() -> None:
    with pytest.raises(UsageError, match=r"airbench94 does not accept images of 8 x 8 px .* at least 9 px"):
        create("airbench94", num_classes=10, image_size=8)
