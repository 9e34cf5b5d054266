"""Policies that pick operations at random, in torchvision's form: AutoAugment, RandAugment, TrivialAugmentWide.

A policy is called with a square image and random numbers, (num_draws,) uniform in [0, 1), and returns an image of the
same shape. Strengths equal torchvision's to the last bit (they are float32 there), so that the same choices give the
same pixels.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tench.input import pixels
from tench.input.pixels import Fill
from tench.input.resampling import Image
from tench.input.views import Draws

Operation = Callable[[Image, float, Fill, str], Image]

_OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda image, value, fill, resample: image,
    "shear_x": pixels.shear_x,
    "shear_y": pixels.shear_y,
    "translate_x": lambda image, value, fill, resample: pixels.translate_x(image, int(value), fill, resample),
    "translate_y": lambda image, value, fill, resample: pixels.translate_y(image, int(value), fill, resample),
    "rotate": pixels.rotate,
    "brightness": lambda image, value, fill, resample: pixels.brightness(image, 1 + value),
    "color": lambda image, value, fill, resample: pixels.saturation(image, 1 + value),
    "contrast": lambda image, value, fill, resample: pixels.contrast(image, 1 + value),
    "sharpness": lambda image, value, fill, resample: pixels.sharpness(image, 1 + value),
    "posterize": lambda image, value, fill, resample: pixels.posterize(image, int(value)),
    "solarize": lambda image, value, fill, resample: pixels.solarize(image, value),
    "autocontrast": lambda image, value, fill, resample: pixels.autocontrast(image),
    "equalize": lambda image, value, fill, resample: pixels.equalize(image),
    "invert": lambda image, value, fill, resample: pixels.invert(image),
}
RAND_OPS = tuple(name for name in _OPERATIONS if name != "invert")
"""The operations that RandAugment and TrivialAugmentWide choose from, in torchvision's order."""


class _Scale(NamedTuple):
    """An operation's strengths from the weakest to the strongest, and whether the sign is random."""

    values: tuple[float, ...]
    signed: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandAugment:
    """`num_ops` operations in succession, each chosen uniformly from 14, all of strength `magnitude` of `bins`.

    Source: Cubuk et al., arXiv:1909.13719; ranges as in torchvision's RandAugment.
    """

    num_ops: int = 2
    magnitude: int = 9
    bins: int = 31
    fill: Fill = ()
    resample: str = "nearest"

    @property
    def num_draws(self) -> int:
        return 2 * self.num_ops  # operation and sign of each

    def __call__(self, image: Image, draws: Draws) -> Image:
        scales = _scales(self.bins, *image.shape[:2])
        numbers = draws.tolist()
        for which, sign in zip(numbers[::2], numbers[1::2], strict=True):
            name = RAND_OPS[int(which * len(RAND_OPS))]
            value = _strength(scales.get(name), self.magnitude, negative=sign >= 0.5)
            image = _OPERATIONS[name](image, value, self.fill, self.resample)
        return image


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrivialAugmentWide:
    """One operation, chosen uniformly from 14, with a strength chosen uniformly from `bins`, over wide ranges.

    Source: Müller and Hutter, arXiv:2103.10158; as torchvision's TrivialAugmentWide.
    """

    bins: int = 31
    fill: Fill = ()
    resample: str = "nearest"

    num_draws = 3

    def __call__(self, image: Image, draws: Draws) -> Image:
        which, strength, sign = draws.tolist()
        name = RAND_OPS[int(which * len(RAND_OPS))]
        value = _strength(_wide_scales(self.bins).get(name), int(strength * self.bins), negative=sign >= 0.5)
        return _OPERATIONS[name](image, value, self.fill, self.resample)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoAugment:
    """One of 25 pairs of operations found by a search, each with its probability and strength.

    policy: imagenet, cifar10 or svhn. Source: Cubuk et al., arXiv:1805.09501, as torchvision's AutoAugment.
    """

    policy: str
    fill: Fill = ()
    resample: str = "nearest"

    num_draws = 5

    def __call__(self, image: Image, draws: Draws) -> Image:
        which, first, second, first_sign, second_sign = draws.tolist()
        scales = _scales(10, *image.shape[:2])
        pairs = AUTO_POLICIES[self.policy]
        pair = pairs[int(which * len(pairs))]
        for (name, probability, strength), drawn, sign in zip(
            pair, (first, second), (first_sign, second_sign), strict=True
        ):
            if drawn < probability:
                value = _strength(scales.get(name), strength, negative=sign < 0.5)
                image = _OPERATIONS[name](image, value, self.fill, self.resample)
        return image


def _strength(scale: _Scale | None, index: int, *, negative: bool) -> float:
    if scale is None:  # an operation without a strength
        return 0.0
    return -scale.values[index] if scale.signed and negative else scale.values[index]


@functools.lru_cache(maxsize=64)
def _scales(bins: int, height: int, width: int) -> Mapping[str, _Scale]:
    shear, blend = _line(0.0, 0.3, bins), _line(0.0, 0.9, bins)
    return {
        "shear_x": shear,
        "shear_y": shear,
        "translate_x": _line(0.0, 150.0 / 331.0 * width, bins),
        "translate_y": _line(0.0, 150.0 / 331.0 * height, bins),
        "rotate": _line(0.0, 30.0, bins),
        "brightness": blend,
        "color": blend,
        "contrast": blend,
        "sharpness": blend,
        "posterize": _bits(4, bins),
        "solarize": _line(255.0, 0.0, bins)._replace(signed=False),
    }


@functools.lru_cache(maxsize=8)
def _wide_scales(bins: int) -> Mapping[str, _Scale]:
    factor, shift = _line(0.0, 0.99, bins), _line(0.0, 32.0, bins)
    return {
        "shear_x": factor,
        "shear_y": factor,
        "translate_x": shift,
        "translate_y": shift,
        "rotate": _line(0.0, 135.0, bins),
        "brightness": factor,
        "color": factor,
        "contrast": factor,
        "sharpness": factor,
        "posterize": _bits(6, bins),
        "solarize": _line(255.0, 0.0, bins)._replace(signed=False),
    }


def _line(start: float, end: float, bins: int) -> _Scale:
    import torch  # here, because a recipe's policy is checked without torch

    return _Scale(tuple(torch.linspace(start, end, bins).tolist()))


def _bits(at_most: int, bins: int) -> _Scale:
    """The bits to keep: from 8 down to 8 - at_most."""
    return _Scale(tuple(8 - round(index * at_most / (bins - 1)) for index in range(bins)), signed=False)


def _pairs(text: str) -> tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...]:
    """Parse lines "operation probability strength | operation probability strength"; 0 means no strength."""

    def operation(part: str) -> tuple[str, float, int]:
        name, probability, strength = part.split()
        return name, float(probability), int(strength)

    lines = (line.split("|") for line in text.strip().splitlines())
    return tuple((operation(first), operation(second)) for first, second in lines)


AUTO_POLICIES = {
    "imagenet": _pairs("""
        posterize 0.4 8 | rotate 0.6 9
        solarize 0.6 5 | autocontrast 0.6 0
        equalize 0.8 0 | equalize 0.6 0
        posterize 0.6 7 | posterize 0.6 6
        equalize 0.4 0 | solarize 0.2 4
        equalize 0.4 0 | rotate 0.8 8
        solarize 0.6 3 | equalize 0.6 0
        posterize 0.8 5 | equalize 1 0
        rotate 0.2 3 | solarize 0.6 8
        equalize 0.6 0 | posterize 0.4 6
        rotate 0.8 8 | color 0.4 0
        rotate 0.4 9 | equalize 0.6 0
        equalize 0 0 | equalize 0.8 0
        invert 0.6 0 | equalize 1 0
        color 0.6 4 | contrast 1 8
        rotate 0.8 8 | color 1 2
        color 0.8 8 | solarize 0.8 7
        sharpness 0.4 7 | invert 0.6 0
        shear_x 0.6 5 | equalize 1 0
        color 0.4 0 | equalize 0.6 0
        equalize 0.4 0 | solarize 0.2 4
        solarize 0.6 5 | autocontrast 0.6 0
        invert 0.6 0 | equalize 1 0
        color 0.6 4 | contrast 1 8
        equalize 0.8 0 | equalize 0.6 0
    """),
    "cifar10": _pairs("""
        invert 0.1 0 | contrast 0.2 6
        rotate 0.7 2 | translate_x 0.3 9
        sharpness 0.8 1 | sharpness 0.9 3
        shear_y 0.5 8 | translate_y 0.7 9
        autocontrast 0.5 0 | equalize 0.9 0
        shear_y 0.2 7 | posterize 0.3 7
        color 0.4 3 | brightness 0.6 7
        sharpness 0.3 9 | brightness 0.7 9
        equalize 0.6 0 | equalize 0.5 0
        contrast 0.6 7 | sharpness 0.6 5
        color 0.7 7 | translate_x 0.5 8
        equalize 0.3 0 | autocontrast 0.4 0
        translate_y 0.4 3 | sharpness 0.2 6
        brightness 0.9 6 | color 0.2 8
        solarize 0.5 2 | invert 0 0
        equalize 0.2 0 | autocontrast 0.6 0
        equalize 0.2 0 | equalize 0.6 0
        color 0.9 9 | equalize 0.6 0
        autocontrast 0.8 0 | solarize 0.2 8
        brightness 0.1 3 | color 0.7 0
        solarize 0.4 5 | autocontrast 0.9 0
        translate_y 0.9 9 | translate_y 0.7 9
        autocontrast 0.9 0 | solarize 0.8 3
        equalize 0.8 0 | invert 0.1 0
        translate_y 0.7 9 | autocontrast 0.9 0
    """),
    "svhn": _pairs("""
        shear_x 0.9 4 | invert 0.2 0
        shear_y 0.9 8 | invert 0.7 0
        equalize 0.6 0 | solarize 0.6 6
        invert 0.9 0 | equalize 0.6 0
        equalize 0.6 0 | rotate 0.9 3
        shear_x 0.9 4 | autocontrast 0.8 0
        shear_y 0.9 8 | invert 0.4 0
        shear_y 0.9 5 | solarize 0.2 6
        invert 0.9 0 | autocontrast 0.8 0
        equalize 0.6 0 | rotate 0.9 3
        shear_x 0.9 4 | solarize 0.3 3
        shear_y 0.8 8 | invert 0.7 0
        equalize 0.9 0 | translate_y 0.6 6
        invert 0.9 0 | equalize 0.6 0
        contrast 0.3 3 | rotate 0.8 4
        invert 0.8 0 | translate_y 0 2
        shear_y 0.7 6 | solarize 0.4 8
        invert 0.6 0 | rotate 0.8 4
        shear_y 0.3 7 | translate_x 0.9 3
        shear_x 0.1 6 | invert 0.6 0
        solarize 0.7 2 | translate_y 0.6 7
        shear_y 0.8 4 | invert 0.8 0
        shear_x 0.7 9 | translate_y 0.8 3
        shear_y 0.8 5 | autocontrast 0.7 0
        shear_x 0.7 2 | invert 0.1 0
    """),
}
"""Pairs of (operation, probability, strength of 10). Operations without a strength have 0."""
