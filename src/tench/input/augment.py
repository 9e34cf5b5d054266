"""Changes to the pixels of one training image after its crop: policies, colour jitter, lighting, cutout.

Each is called with the square image (H, W, C) and random numbers, (num_draws,) uniform in [0, 1), and returns an image
of the same shape; it generates no random numbers itself. All of them work per image on the CPU, in threads. The price:
a dataset that would fit on the device is then decoded in each epoch.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tench.data.images.picture import Picture
from tench.errors import TenchError, UsageError
from tench.input import pixels
from tench.input.autoaugment import AUTO_POLICIES, AutoAugment, RandAugment, TrivialAugmentWide
from tench.input.draws import normal
from tench.input.pixels import Fill
from tench.input.resampling import Image
from tench.input.timm_augment import TimmRandAugment
from tench.input.views import Draws, View
from tench.own_code import code_name, errors_name, names_code


class Augmentation(Protocol):
    """A change to an image."""

    @property
    def num_draws(self) -> int: ...

    def __call__(self, image: Image, draws: Draws) -> Image: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Brightness, contrast and saturation by factors from 1 - x (at least 0) to 1 + x, hue by -x to x turns.

    Their order is random for each image; those that are 0 are left out. Source: torchvision's ColorJitter.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    num_draws = 5

    def __call__(self, image: Image, draws: Draws) -> Image:
        order, *numbers = draws.tolist()
        steps = (
            (pixels.brightness, *_around_1(self.brightness)),
            (pixels.contrast, *_around_1(self.contrast)),
            (pixels.saturation, *_around_1(self.saturation)),
            (pixels.hue, -self.hue, self.hue),
        )
        for which in _ORDERS[int(order * len(_ORDERS))]:
            change, low, high = steps[which]
            if low < high:
                image = change(image, low + numbers[which] * (high - low))
        return image


def _around_1(span: float) -> tuple[float, float]:
    return max(0.0, 1 - span), 1 + span


_ORDERS = tuple(itertools.permutations(range(4)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lighting:
    """Add the principal components of ImageNet's colours, each times its eigenvalue and a normal number.

    std: of the normal numbers; 0.1 in the paper. For a one-channel image, the mean of the three amounts is added.
    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks" (2012), section 4.1;
    components and eigenvalues as in MXNet's pca_noise.
    """

    std: float

    num_draws = 3

    def __call__(self, image: Image, draws: Draws) -> Image:
        numbers = [self.std * normal(uniform) for uniform in draws.tolist()]
        amounts = pixels.EIGENVECTORS @ (pixels.EIGENVALUES * numbers)  # (3,)
        return pixels.add(image, amounts if image.shape[2] == 3 else amounts.mean(keepdims=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cutout:
    """Fill a square of `side` pixels, centred on a random pixel and clipped at the border.

    Source: DeVries and Taylor, arXiv:1708.04552; its zeros after normalisation equal a fill with the data's mean.
    """

    side: int
    fill: Fill = ()

    num_draws = 2

    def __call__(self, image: Image, draws: Draws) -> Image:
        down, right = draws.tolist()
        top = int(down * image.shape[0]) - self.side // 2
        left = int(right * image.shape[1]) - self.side // 2
        cut = image.copy()
        cut[max(0, top) : top + self.side, max(0, left) : left + self.side] = self.fill or 0
        return cut


@dataclasses.dataclass(frozen=True)
class Augmented:
    """A view followed by augmentations, in order. The view uses the first random numbers, so its geometry is the same
    as without them."""

    view: View
    augmentations: tuple[Augmentation, ...]

    @property
    def size(self) -> int:
        return self.view.size

    @property
    def num_draws(self) -> int:
        return self.view.num_draws + sum(one.num_draws for one in self.augmentations)

    @property
    def alternates(self) -> bool:
        return self.view.alternates

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        used = self.view.num_draws
        self.view.render(image, draws[:used], out)
        augmented = out
        for one in self.augmentations:
            augmented = one(augmented, draws[used : used + one.num_draws])
            used += one.num_draws
        out[:] = augmented


@dataclasses.dataclass(frozen=True)
class OwnPolicy:
    """The user's own function: (image (H, W, C) uint8, numpy generator) -> image of the same shape and type.

    It is called in the loader's threads, several at once. Its generator is seeded with (seed, epoch, row): a function
    that uses no other random source returns the same image in any thread and after a resume.
    """

    function: Callable[[Image, np.random.Generator], Image]

    num_draws = 2  # 32 random bits each

    def __call__(self, image: Image, draws: Draws) -> Image:
        name = code_name(self.function)
        rng = np.random.default_rng([int(draw * 2**32) for draw in draws.tolist()])
        with errors_name(name, f"called with an image of shape {image.shape}"):
            found: Any = self.function(image.copy(), rng)
        if not isinstance(found, np.ndarray):
            raise TenchError(f"{name} returned {type(found).__name__}, expected a numpy array.")
        if found.shape != image.shape or found.dtype != np.uint8:
            raise TenchError(
                f"{name} returned an image of shape {found.shape} and type {found.dtype}, expected uint8 of shape "
                f"{image.shape}."
            )
        return found


POLICY_FORMS = (
    "none",
    "randaugment-N-M",
    "trivialaugment-wide",
    *(f"autoaugment-{name}" for name in AUTO_POLICIES),
    "rand-mM-nN-mstdS-inc1",
)
"""The forms of a policy's name: N operations of magnitude M of 30. The last one is timm's format."""


def named_policy(name: str, *, mean: Fill = (), resample: str = "nearest") -> Augmentation | None:
    """The policy with this name, such as "randaugment-2-9"; None for "none".

    Uncovered pixels are black in torchvision's policies (its default) and `mean` in timm's. resample: nearest or
    bilinear, for torchvision's policies; timm's picks bilinear or bicubic at random. Raises UsageError for any other
    name.
    """
    if name == "none":
        return None
    if name == "trivialaugment-wide":
        return TrivialAugmentWide(resample=resample)
    if found := re.fullmatch(r"randaugment-(\d+)-(\d+)", name):
        num_ops, magnitude = int(found[1]), int(found[2])
        if num_ops < 1 or magnitude > 30:
            raise UsageError(f"{name}: the number of operations must be at least 1 and the magnitude 0 to 30.")
        return RandAugment(num_ops=num_ops, magnitude=magnitude, resample=resample)
    kind, _, which = name.partition("-")
    if kind == "autoaugment" and which in AUTO_POLICIES:
        return AutoAugment(policy=which, resample=resample)
    if kind == "rand":
        return TimmRandAugment.parse(name, mean)
    if names_code(name):
        raise UsageError(f"{name} is Python code, which only tench train and tench.fit(policy=...) import.")
    raise UsageError(
        f"{name}: unknown augmentation policy. Known: {', '.join(POLICY_FORMS)}, or package.module:function."
    )


def mean_colour(mean: tuple[float, ...]) -> Fill:
    """A recipe's mean, given for pixels scaled to 0..1, as a colour."""
    return tuple(min(255, max(0, round(255 * part))) for part in mean)
