"""Scale augmentation: resize the image to a random size, then crop a square, as in the training of VGG and the first
ResNets.

The crop is known before anything is resized, so only its box is decoded and resized. The box has whole pixels, so it is
within one image pixel of a crop of the whole resized image.
"""

import dataclasses

from tench.data.images.picture import Picture
from tench.input.resampling import Image
from tench.input.views import Crop, Decode, Draws, FlipForm, render_crop, with_shorter


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResizeCrop:
    """Resize the shorter side to a random length, cut a random square, and mirror at random.

    short_side: the lengths, from the first up to but not including the second. stretch: before that, the longer side
    (the height of a square) is multiplied by a factor from the first to the second. If that makes it the shorter side,
    it is resized to the length: no side is ever shorter than the crop. Raises ValueError if the crop can be larger than
    the resized image.

    Source: Simonyan and Zisserman, arXiv:1409.1556, section 3.1; lengths from He et al., arXiv:1512.03385, section 3.4;
    the stretch is from Apm5's ImageNet_ResNet_Tensorflow2.0.
    """

    size: int
    short_side: tuple[int, int] = (256, 480)
    stretch: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    flip_form: FlipForm = "random"
    decode: Decode = "reduced"

    num_draws = 5  # flip, top, left, shorter side, stretch

    def __post_init__(self) -> None:
        low, high = self.short_side
        if not self.size <= low < high:
            raise ValueError(
                f"short_side {low} {high}: expected two lengths, the first at least {self.size}, the side of the crop, "
                "the second larger"
            )
        if not 0 < self.stretch[0] <= self.stretch[1]:
            raise ValueError(f"stretch {self.stretch[0]} {self.stretch[1]}: expected two factors above 0, in order")

    @property
    def alternates(self) -> bool:
        return self.flip_form == "alternate"

    def crop(self, height: int, width: int, draws: Draws) -> Crop:
        """The visible box in an image of height x width pixels."""
        flip, down, right, short, stretch = draws.tolist()
        factor = self.stretch[0] + stretch * (self.stretch[1] - self.stretch[0])
        stretched = (height, max(1, int(width * factor))) if height < width else (max(1, int(height * factor)), width)
        low, high = self.short_side
        resized = with_shorter(low + int(short * (high - low)), *stretched)
        top, bottom = self._span(down, height, resized[0])
        left, end = self._span(right, width, resized[1])
        return Crop(top, left, bottom - top, end - left, flip < self.flip)

    def _span(self, place: float, length: int, resized: int) -> tuple[int, int]:
        """First and last (exclusive) pixel of a row or column in the resized square."""
        begin = int(place * (resized - self.size + 1))
        first = min(round(begin * length / resized), length - 1)
        return first, max(first + 1, round((begin + self.size) * length / resized))

    def render(self, image: Picture, draws: Draws, out: Image) -> None:
        render_crop(image, self.crop(image.height, image.width, draws), out, self.decode)
