"""AlexNet in one tower, with local response normalisation after the first two convolutions.

Source: MXNet, example/image-classification/symbols/alexnet.py; the network of Krizhevsky, Sutskever and Hinton, NIPS
2012, without its two halves.
"""

from functools import partial

from torch import nn

from tench.models.mxnet.steps import Conv, Pool, Step, classifier, plain

_RESPONSE = partial(nn.LocalResponseNorm, size=5, alpha=1e-4, beta=0.75, k=2)


def alexnet(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes), S at least 67. Initialised by `normal`."""
    body: dict[str, Step] = {
        "conv1": Conv(96, 11, stride=4),
        "response1": _RESPONSE,
        "pool1": Pool("max", 3, 2),
        "conv2": Conv(256, 5, padding=2),
        "response2": _RESPONSE,
        "pool2": Pool("max", 3, 2),
        "conv3": Conv(384, 3, padding=1),
        "conv4": Conv(384, 3, padding=1),
        "conv5": Conv(256, 3, padding=1),
        "pool5": Pool("max", 3, 2),
    }
    return classifier(
        body,
        plain,
        num_classes=num_classes,
        image_size=image_size,
        channels=channels,
        hidden=(4096, 4096),
        dropout=0.5,
        initialiser="normal",
    )
