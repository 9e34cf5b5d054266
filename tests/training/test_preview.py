import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.photos import Pixels

from tench.compat import import_torchvision
from tench.data.images.picture import decode_row
from tench.data.source import open_source
from tench.data.table import Dataset
from tench.errors import TenchError
from tench.input.loader import Loader
from tench.input.order import Order
from tench.input.views import PadCrop
from tench.training.plan import resolve
from tench.training.preview import preview, write_preview
from tench.training.recipe import Recipe
from tench.training.recipe_views import train_view

CELL, STEP, LEFT, TOP = 144, 150, 150, 24
RECIPE = Recipe().replace(
    image_size=CELL,
    channels=3,
    train_view="random-resized-crop",
    eval_resize=160,
    policy="randaugment-2-9",
    cutout=20,
    seed=5,
)


def cell(picture: Image.Image, line: int, column: int) -> Pixels:
    left, top = LEFT + column * STEP, TOP + line * STEP
    return np.asarray(picture.crop((left, top, left + CELL, top + CELL)))


@pytest.fixture(scope="module")
def dataset(photo_folder: Path) -> Dataset:
    return open_source(photo_folder)


@pytest.fixture(scope="module")
def drawn(dataset: Dataset) -> Image.Image:
    return preview(dataset, RECIPE)


def shown_rows(dataset: Dataset) -> list[int]:
    table = dataset.splits["train"]  # 18 rows, in the order of their classes
    return [int(row) for row in np.linspace(0, len(table) - 1, 8)]


def test_there_is_a_row_for_each_of_eight_images_of_all_classes(dataset: Dataset, drawn: Image.Image) -> None:
    assert drawn.size == (LEFT + 8 * STEP, TOP + 8 * STEP)
    labels = dataset.splits["train"].labels
    assert set(labels[shown_rows(dataset)]) == set(labels)


def test_the_training_views_match_those_used_in_training(dataset: Dataset, drawn: Image.Image) -> None:
    table = dataset.splits["train"]
    order = Order(num_rows=len(table), batch_size=4, seed=5, drop_last=False)
    lines = {row: line for line, row in enumerate(shown_rows(dataset))}
    view = train_view(resolve(RECIPE, table, torch.device("cpu")))
    with Loader(table, view, order, channels=3, threads=1) as loader:
        for epoch in range(6):
            seen = 0
            for batch in loader.batches(epoch):
                for row, image in zip(batch.rows.tolist(), batch.images.permute(0, 2, 3, 1).numpy(), strict=True):
                    if row in lines:
                        assert np.array_equal(cell(drawn, lines[row], 1 + epoch), image), (epoch, row)
                        seen += 1
            assert seen == 8


def test_alternating_flips_alternate_in_the_preview_too(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    view = PadCrop(size=CELL, pad=0, flip_form="alternate")
    monkeypatch.setattr("tench.training.preview.train_view", lambda recipe, epoch: view)
    picture = preview(dataset, RECIPE)
    for line in range(8):
        for epoch in range(5):
            assert np.array_equal(cell(picture, line, 2 + epoch), cell(picture, line, 1 + epoch)[:, ::-1])


def test_the_last_column_matches_torchvisions_evaluation_view(dataset: Dataset, drawn: Image.Image) -> None:
    import_torchvision()
    from torchvision.transforms import CenterCrop, Compose, Resize

    theirs = Compose([Resize(160), CenterCrop(CELL)])
    for line, row in enumerate(shown_rows(dataset)):
        image = Image.fromarray(decode_row(dataset.splits["train"], row, 3))
        assert np.array_equal(cell(drawn, line, 7), np.asarray(theirs(image)))


def test_the_first_column_is_the_whole_image(dataset: Dataset, drawn: Image.Image) -> None:
    for line, row in enumerate(shown_rows(dataset)):
        image = Image.fromarray(decode_row(dataset.splits["train"], row, 3))
        factor = max(1, CELL // max(image.size))
        width, height = image.width * factor, image.height * factor
        left, top = (CELL - width) // 2, (CELL - height) // 2
        expected = image.resize((width, height), Image.Resampling.NEAREST)
        found = cell(drawn, line, 0)
        assert np.array_equal(found[top : top + height, left : left + width], np.asarray(expected))
        assert (found[:top] == 255).all()


def test_the_class_name_is_written_on_the_left(
    dataset: Dataset, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageDraw

    written: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, *_, **__: written.append(text))
    preview(dataset, RECIPE)
    assert written[:8] == ["whole image", *(f"epoch {number}" for number in range(1, 7)), "evaluation"]
    names = dataset.classes.names
    labels = dataset.splits["train"].labels[shown_rows(dataset)]
    assert [text.splitlines()[0] for text in written[8:]] == [names[label] for label in labels]
    with Image.open(photo_folder / "train" / f"{names[labels[0]]}" / "0.jpg") as first:
        assert written[8].splitlines()[1] == f"{first.width} x {first.height}"


def test_grey_digits_are_shown_with_their_recipe() -> None:
    recipe = Recipe().replace(lighting=0.1)
    assert preview(open_source("digits"), recipe).size == (LEFT + 8 * STEP, TOP + 8 * STEP)


def test_each_of_a_few_images_is_shown_once(photo_folder: Path) -> None:
    six = open_source(photo_folder / "val")
    assert len(six.splits["train"]) == 6
    assert preview(six, RECIPE).height == TOP + 6 * STEP


def test_without_a_train_split_the_error_names_the_splits(dataset: Dataset, tmp_path: Path) -> None:
    without = dataclasses.replace(dataset, splits={"val": dataset.splits["val"]})
    with pytest.raises(TenchError, match="has no split 'train'; it has val"):
        write_preview(tmp_path / "views.png", without, RECIPE)
    assert list(tmp_path.iterdir()) == []


def test_the_file_contains_the_picture(dataset: Dataset, drawn: Image.Image, tmp_path: Path) -> None:
    write_preview(tmp_path / "new" / "views.png", dataset, RECIPE)
    with Image.open(tmp_path / "new" / "views.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(drawn))
