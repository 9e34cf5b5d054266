import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from tench.errors import UsageError
from tench.models import create
from tench.models.blurpool import add_blur, add_blurpool
from tench.models.source import ModelOptions


def test_the_input_of_a_convolution_is_blurred_with_the_binomial_filter() -> None:
    conv = nn.Conv2d(16, 8, 3, stride=2, padding=1)
    images = torch.randn(2, 16, 9, 11)
    blurred = torch.stack([conv2d(image[:, None], BINOMIAL, padding=1)[:, 0] for image in images])
    expected = conv(blurred)
    add_blur(conv)
    torch.testing.assert_close(conv(images), expected)


BINOMIAL = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])[None, None] / 16


def test_a_resnet_blurs_before_its_six_convolutions_of_stride_2_but_not_before_the_stem() -> None:
    network = create("resnet50", num_classes=10, image_size=96, options=ModelOptions(blurpool=True))
    blurred = [name for name, module in network.named_modules() if "blur" in dict(module.named_buffers(recurse=False))]
    stages = ("layer2", "layer3", "layer4")
    assert blurred == [f"{stage}.0.{conv}" for stage in stages for conv in ("conv2", "downsample.0")]


def test_the_weights_match_those_of_the_network_without_blurpool() -> None:
    plain = create("resnet18", num_classes=10, image_size=96)
    blurred = create("resnet18", num_classes=10, image_size=96, options=ModelOptions(blurpool=True))
    blurred.load_state_dict(plain.state_dict())
    assert not torch.equal(plain.eval()(torch.ones(1, 3, 96, 96)), blurred.eval()(torch.ones(1, 3, 96, 96)))


@pytest.mark.parametrize("arch", ["timm:tf_efficientnet_b0", "timm:resnetv2_50x1_bit"])
def test_a_convolution_keeps_its_own_padding_or_scaling(arch: str) -> None:
    torch.manual_seed(0)
    plain = create(arch, num_classes=10, image_size=96).eval()
    torch.manual_seed(0)
    blurred = create(arch, num_classes=10, image_size=96, options=ModelOptions(blurpool=True)).eval()
    for module in blurred.modules():
        if "blur" in dict(module.named_buffers(recurse=False)):
            identity = torch.zeros(3, 3)
            identity[1, 1] = 1
            module.get_buffer("blur").copy_(identity)
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(blurred(images), plain(images), rtol=1e-4, atol=1e-4)


def test_convolutions_with_few_channels_are_not_blurred() -> None:
    assert add_blurpool(nn.Sequential(nn.Conv2d(15, 16, 3, stride=2), nn.Conv2d(16, 16, 3))) == 0


def test_a_network_without_such_convolutions_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError, match="lenet has no convolution of stride 2"):
        create("lenet", num_classes=10, image_size=28, channels=1, options=ModelOptions(blurpool=True))
