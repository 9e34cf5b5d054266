"""GoogLeNet (arXiv:1409.4842) without batch norm and auxiliary heads; pooling sizes round down.

Source: MXNet, example/image-classification/symbols/googlenet.py.
"""

from torch import nn

from tench.models.mxnet.steps import Conv, Fork, Mean, Pool, Step, classifier, plain


def googlenet(*, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes); no dropout."""
    body: dict[str, Step] = {
        "conv1": Conv(64, 7, stride=2, padding=3),
        "pool1": Pool("max", 3, 2),
        "conv2": Conv(64),
        "conv3": Conv(192, 3, padding=1),
        "pool3": Pool("max", 3, 2),
        "3a": _inception(64, 96, 128, 16, 32, 32),
        "3b": _inception(128, 128, 192, 32, 96, 64),
        "pool4": Pool("max", 3, 2),
        "4a": _inception(192, 96, 208, 16, 48, 64),
        "4b": _inception(160, 112, 224, 24, 64, 64),
        "4c": _inception(128, 128, 256, 24, 64, 64),
        "4d": _inception(112, 144, 288, 32, 64, 64),
        "4e": _inception(256, 160, 320, 32, 128, 128),
        "pool5": Pool("max", 3, 2),
        "5a": _inception(256, 160, 320, 32, 128, 128),
        "5b": _inception(384, 192, 384, 48, 128, 128),
        "mean": Mean(),
    }
    return classifier(body, plain, num_classes=num_classes, image_size=image_size, channels=channels)


def _inception(one: int, reduced3: int, three: int, reduced5: int, five: int, pooled: int) -> Fork:
    return Fork(
        (
            (Conv(one),),
            (Conv(reduced3), Conv(three, 3, padding=1)),
            (Conv(reduced5), Conv(five, 5, padding=2)),
            (Pool("max", 3, padding=1), Conv(pooled)),
        )
    )
