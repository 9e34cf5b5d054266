"""Augmentation operations on pixels, one function each: they take an image and a strength, and return a new image.

Images are uint8, (H, W, 3) or (H, W, 1), and are not changed. Every operation gives exactly Pillow's values, because
torchvision and timm, which published the policies, work on Pillow images. Operations on single values use a look-up
table, about twice as fast as Pillow; shears, rotations, saturation and hue are done by Pillow. OpenCV and Pillow's
interpolation release the interpreter lock; converting an image to Pillow and back, saturation and hue hold it. Hue is
by far the slowest.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tench.input.resampling import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Fill = tuple[int, ...]
"""A colour, one value for each channel; () is black."""

EIGENVALUES = np.array([55.46, 4.794, 1.148])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Principal components of ImageNet's colours, one row each for R, G and B. Source: MXNet's pca_noise."""

_VALUES = np.arange(256, dtype=np.uint8)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # Pillow's filter of that name


def shear_x(image: Image, factor: float, fill: Fill = (), resample: str = "nearest") -> Image:
    """Shift each row to the left by `factor` times its distance from the top. Uncovered pixels become `fill`."""
    return _affine(image, (1, factor, 0, 0, 1, 0), fill, resample)


def shear_y(image: Image, factor: float, fill: Fill = (), resample: str = "nearest") -> Image:
    """Shift each column up by `factor` times its distance from the left edge."""
    return _affine(image, (1, 0, 0, factor, 1, 0), fill, resample)


def translate_x(image: Image, pixels: float, fill: Fill = (), resample: str = "nearest") -> Image:
    """Shift the image to the right."""
    return _affine(image, (1, 0, -pixels, 0, 1, 0), fill, resample)


def translate_y(image: Image, pixels: float, fill: Fill = (), resample: str = "nearest") -> Image:
    """Shift the image down."""
    return _affine(image, (1, 0, 0, 0, 1, -pixels), fill, resample)


def rotate(image: Image, degrees: float, fill: Fill = (), resample: str = "nearest") -> Image:
    """Rotate the image counter-clockwise about its centre; its size does not change."""
    from PIL import Image as Pillow

    picture = _picture(image)
    return _pixels(picture.rotate(degrees, Pillow.Resampling[resample.upper()], fillcolor=fill or None), image)


def brightness(image: Image, factor: float) -> Image:
    """Blend with black: 0 gives black, 1 the image, 2 twice the brightness."""
    return _look_up(image, _blended(0, factor))


def contrast(image: Image, factor: float) -> Image:
    """Blend with the mean grey: 0 gives a flat image, 1 the image."""
    grey = np.asarray(_picture(image).convert("L"))
    return _look_up(image, _blended(int(grey.sum(dtype=np.int64) / grey.size + 0.5), factor))


def saturation(image: Image, factor: float) -> Image:
    """Blend with the grey image: 0 gives grey, 1 the image. Pillow and the policies call it colour."""
    from PIL import Image as Pillow

    if image.shape[2] == 1:
        return image
    picture = _picture(image)
    return _pixels(Pillow.blend(picture.convert("L").convert("RGB"), picture, factor), image)


def sharpness(image: Image, factor: float) -> Image:
    """Blend with the smoothed image: 0 gives the smoothed image, 1 the image, 2 a sharpened one. The outermost pixels
    are never smoothed."""
    import cv2
    from PIL import Image as Pillow

    smooth = image.copy()
    if min(image.shape[:2]) > 2:
        smooth[1:-1, 1:-1] = cv2.filter2D(image, -1, _SMOOTH).reshape(image.shape)[1:-1, 1:-1]
    return _pixels(Pillow.blend(_picture(smooth), _picture(image), factor), image)


def posterize(image: Image, bits: int) -> Image:
    """Keep the upper `bits` bits (0 to 8) of each value."""
    return _look_up(image, _VALUES & (256 - 2 ** (8 - bits)))


def solarize(image: Image, threshold: float) -> Image:
    """Invert the values at or above the threshold."""
    return _look_up(image, np.where(threshold > _VALUES, _VALUES, 255 - _VALUES))


def solarize_add(image: Image, amount: int) -> Image:
    """Add to the values below 128."""
    return _look_up(image, np.where(_VALUES < 128, np.minimum(_VALUES + np.int64(amount), 255), _VALUES))


def autocontrast(image: Image) -> Image:
    """Stretch each channel so that its smallest value becomes 0 and its largest 255. A flat channel is unchanged."""
    import cv2

    return _look_up(image, *(_stretched(*cv2.minMaxLoc(channel)[:2]) for channel in cv2.split(image)))


def equalize(image: Image) -> Image:
    """Spread each channel's values so that equal ranges contain about the same number of pixels."""
    import cv2

    channels = cv2.split(image)
    return _look_up(image, *(_equalized(cv2.calcHist([one], [0], None, [256], [0, 256])) for one in channels))


def invert(image: Image) -> Image:
    """255 minus each value."""
    return 255 - image


def hue(image: Image, shift: float) -> Image:
    """Rotate the hues by `shift` turns, -0.5 to 0.5. A grey image is unchanged."""
    from PIL import Image as Pillow

    if image.shape[2] == 1:
        return image
    bands = _picture(image).convert("HSV").split()
    steps = int(shift * 255)
    turned = bands[0].point([(value + steps) % 256 for value in range(256)])
    return _pixels(Pillow.merge("HSV", (turned, *bands[1:])).convert("RGB"), image)


def add(image: Image, amounts: npt.NDArray[np.float64]) -> Image:
    """Add an amount to each channel, rounded, and clip to 0 to 255. amounts: (C,)."""
    tables = (np.clip(np.rint(_VALUES + amount), 0, 255) for amount in amounts)
    return _look_up(image, *tables)


def _picture(image: Image) -> "Picture":
    from PIL import Image as Pillow

    return Pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def _pixels(picture: "Picture", like: Image) -> Image:
    return np.asarray(picture).reshape(like.shape)


def _affine(image: Image, matrix: tuple[float, ...], fill: Fill, resample: str) -> Image:
    """The result at (x, y) is the image at (a x + b y + c, d x + e y + f), for the matrix (a, b, c, d, e, f)."""
    from PIL import Image as Pillow

    picture = _picture(image)
    kind, how = Pillow.Transform.AFFINE, Pillow.Resampling[resample.upper()]
    return _pixels(picture.transform(picture.size, kind, matrix, how, fillcolor=fill or None), image)


def _look_up(image: Image, *tables: npt.NDArray[Any]) -> Image:
    """Replace each value by its entry in a table (256,): one table for all channels, or one for each."""
    import cv2

    table = np.stack(tables, axis=-1).astype(np.uint8)  # (256, 1) or (256, C)
    return np.asarray(cv2.LUT(image, table[None])).reshape(image.shape)


def _blended(value: int, factor: float) -> Image:
    """Pillow's blend of a constant with each value: computed by Pillow, because of its own arithmetic and rounding."""
    from PIL import Image as Pillow

    values = Pillow.fromarray(_VALUES[None])
    table: Image = np.asarray(Pillow.blend(Pillow.new("L", values.size, value), values, factor))
    return table.reshape(256)


def _stretched(low: float, high: float) -> npt.NDArray[Any]:
    if high <= low:
        return _VALUES
    scale = 255.0 / (high - low)
    table: npt.NDArray[Any] = np.clip(np.trunc(_VALUES * scale + -low * scale), 0, 255)
    return table


def _equalized(histogram: npt.NDArray[Any]) -> npt.NDArray[Any]:
    counts = histogram.ravel().astype(np.int64)
    used = counts[counts > 0]
    step = (counts.sum() - used[-1]) // 255
    if step == 0:
        return _VALUES
    below: npt.NDArray[Any] = np.cumsum(counts) - counts
    table: npt.NDArray[Any] = np.minimum((step // 2 + below) // step, 255)
    return table
