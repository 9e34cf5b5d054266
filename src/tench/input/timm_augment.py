"""RandAugment in timm's form, named by the strings in timm's published recipes: "rand-m9-n2-mstd0.5-inc1".

It differs from torchvision's: each operation is skipped half of the time, the strength is noisy, pixels uncovered by a
shear, shift or rotation get the mean colour of the data, and these operations use bilinear or bicubic sampling at
random.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping

from tench.errors import UsageError
from tench.input import pixels
from tench.input.draws import normal
from tench.input.pixels import Fill
from tench.input.resampling import Image
from tench.input.views import Draws

_LEVELS = 10.0  # magnitude of level 1
_DRAWS_PER_OP = 5
_PART = re.compile(r"(m|n|p|mstd|mmax|inc)(\d+(?:\.\d+)?)")
_UNIFORM_ABOVE = 100.0  # an mstd above this means: uniform from 0 to m


@dataclasses.dataclass(frozen=True)
class _Strength:
    """The strength of an operation: level is magnitude / 10, sign is -1 or 1."""

    level: float
    sign: int
    increasing: bool

    @property
    def signed(self) -> float:
        return self.sign * self.level

    @property
    def factor(self) -> float:
        """The factor of a blend with the degenerate image."""
        return max(0.1, 1.0 + self.sign * (self.level * 0.9)) if self.increasing else self.level * 1.8 + 0.1

    @property
    def bits(self) -> int:
        bits = int(self.level * 4)
        return max(0, 4 - bits) if self.increasing else min(8, bits)

    @property
    def threshold(self) -> int:
        threshold = min(256, int(self.level * 256))
        return 256 - threshold if self.increasing else threshold


Operation = Callable[[Image, _Strength, Fill, str], Image]

_OPERATIONS: Mapping[str, Operation] = {
    "autocontrast": lambda image, how, fill, resample: pixels.autocontrast(image),
    "equalize": lambda image, how, fill, resample: pixels.equalize(image),
    "invert": lambda image, how, fill, resample: pixels.invert(image),
    "rotate": lambda image, how, fill, resample: pixels.rotate(image, how.signed * 30.0, fill, resample),
    "posterize": lambda image, how, fill, resample: pixels.posterize(image, how.bits),
    "solarize": lambda image, how, fill, resample: pixels.solarize(image, how.threshold),
    "solarize_add": lambda image, how, fill, resample: pixels.solarize_add(image, min(128, int(how.level * 110))),
    "color": lambda image, how, fill, resample: pixels.saturation(image, how.factor),
    "contrast": lambda image, how, fill, resample: pixels.contrast(image, how.factor),
    "brightness": lambda image, how, fill, resample: pixels.brightness(image, how.factor),
    "sharpness": lambda image, how, fill, resample: pixels.sharpness(image, how.factor),
    "shear_x": lambda image, how, fill, resample: pixels.shear_x(image, how.signed * 0.3, fill, resample),
    "shear_y": lambda image, how, fill, resample: pixels.shear_y(image, how.signed * 0.3, fill, resample),
    # timm shifts to the left and up if the sign is positive
    "translate_x": lambda image, how, fill, resample: pixels.translate_x(
        image, -(how.signed * 0.45 * image.shape[1]), fill, resample
    ),
    "translate_y": lambda image, how, fill, resample: pixels.translate_y(
        image, -(how.signed * 0.45 * image.shape[0]), fill, resample
    ),
}
TIMM_OPS = tuple(_OPERATIONS)
"""The operations to choose from, in timm's order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimmRandAugment:
    """`num_ops` of 15 operations, chosen uniformly with replacement, each applied with `probability`.

    The strength is normal about `magnitude` with deviation `noise` (infinite: uniform from 0 to it), clipped to 0 to
    `largest`. increasing: a greater magnitude means a greater change for every operation; otherwise, as in the first
    version, posterize and solarize work the other way round and blends range from 0.1 to 1.9. Source: timm's
    rand_augment_transform, with hparams of its create_transform for random interpolation.
    """

    num_ops: int = 2
    magnitude: int = 10
    probability: float = 0.5
    noise: float = 0.0
    largest: int = 10
    increasing: bool = False
    fill: Fill = ()

    @classmethod
    def parse(cls, text: str, fill: Fill = ()) -> "TimmRandAugment":
        """Parse timm's string: rand, then in any order mM, nN, pP, mstdS, mmaxX, inc1, joined by "-".

        Raises UsageError for anything else, even for parts that timm would ignore.
        """
        name, *parts = text.split("-")
        values: dict[str, float] = {}
        for part in parts:
            found = _PART.fullmatch(part)
            if found is None or found[1] in values or ("." in found[2] and found[1] not in ("p", "mstd")):
                raise UsageError(_expected(text, repr(part)))
            values[found[1]] = float(found[2])
        asked = cls(
            num_ops=int(values.get("n", 2)),
            magnitude=int(values.get("m", 10)),
            probability=values.get("p", 0.5),
            noise=math.inf if values.get("mstd", 0.0) > _UNIFORM_ABOVE else values.get("mstd", 0.0),
            largest=int(values.get("mmax", 10)),
            increasing=bool(values.get("inc", 0)),
            fill=fill,
        )
        if name != "rand" or asked.num_ops < 1 or asked.largest < 1 or asked.probability > 1:
            raise UsageError(_expected(text, repr(text)))
        return asked

    @property
    def num_draws(self) -> int:
        return _DRAWS_PER_OP * self.num_ops

    def __call__(self, image: Image, draws: Draws) -> Image:
        for which, applied, strength, sign, filter_ in draws.reshape(self.num_ops, _DRAWS_PER_OP).tolist():
            if applied < self.probability:
                how = _Strength(self._magnitude(strength) / _LEVELS, -1 if sign >= 0.5 else 1, self.increasing)
                operation = _OPERATIONS[TIMM_OPS[int(which * len(TIMM_OPS))]]
                image = operation(image, how, self.fill, "bilinear" if filter_ < 0.5 else "bicubic")
        return image

    def _magnitude(self, uniform: float) -> float:
        drawn = float(self.magnitude)
        if math.isinf(self.noise):
            drawn *= uniform
        elif self.noise:
            drawn += self.noise * normal(uniform)
        return max(0.0, min(drawn, self.largest))


def _expected(text: str, found: str) -> str:
    return (
        f"{text}: expected a policy in timm's form, such as rand-m9-n2-mstd0.5-inc1, found {found}. The parts are mM "
        "(magnitude), nN (operations, 1 or more), pP (probability, 0 to 1), mstdS (noise; above 100: uniform), mmaxX "
        "(largest magnitude, 1 or more) and inc1, each at most once."
    )
