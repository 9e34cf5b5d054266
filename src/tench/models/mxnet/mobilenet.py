"""MobileNet (arXiv:1704.04861) of width 1; the scales of its batch norms are fixed.

It ends with a 7x7 average pooling with stride 1 at every image size: one pixel at 224 px, more for larger images.
Source: MXNet, example/image-classification/symbols/mobilenet.py.
"""

from torch import nn

from tench.models.mxnet.steps import Conv, Pool, Step, classifier, fixed_scale_norm, with_norm

_LAYERS = with_norm(fixed_scale_norm, bias=False)
_WIDTHS_AND_STRIDES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def mobilenet(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes). Raises ValueError below 193 px."""
    body: dict[str, Step] = {"conv1": Conv(32, 3, stride=2, padding=1)}
    before = 32
    for number, (width, stride) in enumerate(_WIDTHS_AND_STRIDES, start=2):
        body[f"conv{number}_depthwise"] = Conv(before, 3, stride=stride, padding=1, groups=before)
        body[f"conv{number}"] = Conv(width)
        before = width
    body["mean"] = Pool("avg", 7)
    return classifier(body, _LAYERS, num_classes=num_classes, image_size=image_size, channels=channels)
