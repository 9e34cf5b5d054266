"""A picture of some images of a dataset: whole, as training sees them, and as evaluation sees them.

The views come from the code that training uses, with the same random numbers for (seed, epoch, row), so what looks
wrong here is wrong there too: a mirrored digit, a flower cropped away, a changed colour that decides the class. (If a
validation set is held out, the training images have different row numbers, and so different random numbers.) Operations
on whole batches, mixing and erasing, are not shown.
"""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tench.arguments import checked_arguments
from tench.data import exif
from tench.data.images.picture import errors_name, open_picture
from tench.data.table import Dataset, Table
from tench.files import require_png, write_png
from tench.input.resampling import Image
from tench.input.views import View, view_draws
from tench.training.plan import resolve
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_views import eval_view, train_view

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

NUM_IMAGES, NUM_EPOCHS = 8, 6
_CELL, _GAP, _NAMES, _HEAD, _TEXT = 144, 6, 150, 24, 14  # pixels


def write_preview(path: str | Path, dataset: Dataset, recipe: Recipe) -> None:
    """Write the picture of a dataset's train split as a PNG.

    Raises UsageError if the name does not end in .png or the file cannot be written, TenchError for a bad image.
    """
    require_png(path, "the preview")
    write_png(path, preview(dataset, recipe), "the preview")


@checked_arguments()
def preview(dataset: Dataset, recipe: Recipe) -> "Drawing":
    """Draw up to 8 images, spread over the classes of the train split, each in a row.

    From left to right: class and size, the whole image, its training views of the first 6 epochs, its evaluation view.
    Returns a `PIL.Image`. Raises TenchError for an image that cannot be decoded.

    >>> picture = tench.preview(tench.open_source("digits"), tench.load_recipe("digits"))
    >>> picture.mode
    'RGB'
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    _, table = dataset.split("train")
    how = exif.resolved(recipe.input.exif, dataset)
    # The views do not depend on the memory format, and resolving that would build the network.
    resolved = resolve(recipe.replace(memory_format="nchw"), table, torch.device("cpu"), exif=how)
    table = exif.oriented(table, how)
    places = np.linspace(0, len(table) - 1, min(NUM_IMAGES, len(table))).astype(np.int64)
    rows = np.argsort(table.labels, kind="stable")[places]
    heads = ["whole image", *(f"epoch {epoch + 1}" for epoch in range(NUM_EPOCHS)), "evaluation"]
    step = _CELL + _GAP
    picture = Pillow.new("RGB", (_NAMES + len(heads) * step, _HEAD + len(rows) * step), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_TEXT)
    for column, head in enumerate(heads):
        draw.text((_NAMES + column * step + _CELL // 2, _HEAD // 2), head, "black", font, anchor="mm")
    for line, row in enumerate(rows.tolist()):
        views, top = _views(resolved, table, row), _HEAD + line * step
        label, (height, width) = int(table.labels[row]), views[0].shape[:2]
        name = dataset.classes.names[label] if label >= 0 else "(no label)"
        words = textwrap.wrap(name, width=16, max_lines=6, placeholder=" ...")
        text = "\n".join([*words, f"{width} x {height}"])
        draw.text((_GAP, top + _CELL // 2), text, "black", font, anchor="lm")
        for column, pixels in enumerate(views):
            cell = _fitted(pixels)
            left = _NAMES + column * step
            picture.paste(cell, (left + (_CELL - cell.width) // 2, top + (_CELL - cell.height) // 2))
    return picture


def _views(recipe: Resolved, table: Table, row: int) -> list[Image]:
    """The whole image (H, W, C), then its training views of the first epochs and its evaluation view."""
    data, channels = table.read(row), recipe.input.channels
    with errors_name(table, row):
        stored = open_picture(table, row, data, channels)

        def rendered(view: View, epoch: int) -> Image:
            out = np.empty((view.size, view.size, channels), np.uint8)
            view.render(stored, view_draws(view, recipe.training.seed, epoch, np.array([row]))[0], out)
            return out

        return [
            stored.part(0, 0, stored.height, stored.width),
            *(rendered(train_view(recipe, epoch), epoch) for epoch in range(NUM_EPOCHS)),
            rendered(eval_view(recipe), 0),
        ]


def _fitted(pixels: Image) -> "Drawing":
    """The image in a cell: shrunk to fit, or enlarged by a whole factor so that its pixels can be seen."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_CELL, _CELL), Pillow.Resampling.LANCZOS)
    factor = max(1, _CELL // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Pillow.Resampling.NEAREST)
