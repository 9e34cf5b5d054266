"""ResNet and ResNeXt by depth and image size, with MXNet's rules for small images.

                 up to 28 px                    29 to 32 px                     larger
    ResNet       three stages, small stem       four stages, small stem         four stages, large stem
    ResNeXt      three stages, small stem       three stages, small stem        four stages, large stem

Three stages allow any depth of 6 n + 2 (9 n + 2 from 164 layers), four stages the depths of the ImageNet networks.
Source: MXNet, example/image-classification/symbols/resnet.py, resnetv1.py, resnext.py.
"""

from torch import nn

from tench.models import residual
from tench.models.residual import ResidualPlan, large_plan, small_plan

_SMALL_STEM = 32  # px: the largest image with a 3x3 convolution and no pooling
_THREE_STAGES = {"resnet": 28, "resnext": 32}  # px: the largest image with three stages


def resnet(depth: int, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """Pre-activation: (B, channels, S, S) -> (B, num_classes). Raises ValueError if this size has no such depth."""
    plan, large_stem = _plan(depth, image_size, _THREE_STAGES["resnet"]), image_size > _SMALL_STEM
    return residual.resnet_v2(plan, large_stem=large_stem, num_classes=num_classes, channels=channels)


def resnetv1(depth: int, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
    """Post-activation: (B, channels, S, S) -> (B, num_classes). Raises ValueError if this size has no such depth."""
    plan, large_stem = _plan(depth, image_size, _THREE_STAGES["resnet"]), image_size > _SMALL_STEM
    return residual.resnet_v1(plan, large_stem=large_stem, num_classes=num_classes, channels=channels)


def resnext(depth: int, *, num_classes: int, image_size: int, channels: int, groups: int = 32) -> nn.Module:
    """(B, channels, S, S) -> (B, num_classes). Raises ValueError if this size has no such depth.

    The inner width of a bottleneck is half the outer one for any number of groups: MXNet's 64x4d network has as many
    channels as the one with 32 groups, and fewer weights.
    """
    plan, large_stem = _plan(depth, image_size, _THREE_STAGES["resnext"]), image_size > _SMALL_STEM
    return residual.resnext(plan, groups=groups, large_stem=large_stem, num_classes=num_classes, channels=channels)


def is_depth(depth: int) -> bool:
    """Whether a network with this many layers exists for some image size."""
    return depth in residual.LARGE_DEPTHS or is_small_depth(depth)


def is_small_depth(depth: int) -> bool:
    """Whether a network with this many layers exists for small images."""
    try:
        small_plan(depth)
    except ValueError:
        return False
    return True


def _plan(depth: int, image_size: int, three_stages: int) -> ResidualPlan:
    small = image_size <= three_stages
    try:
        return small_plan(depth) if small else large_plan(depth)
    except ValueError as error:
        raise ValueError(f"{'up to' if small else 'above'} {three_stages} px, {error}") from None
