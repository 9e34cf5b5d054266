"""EXIF orientation from end to end: photographs stored rotated with a tag are treated like upright ones."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tests.data.photos import array, encoded, part
from tests.training.runs import Killed, equal_in_all

from tench.data import exif
from tench.data.exif import sampled
from tench.data.images.picture import decode_row
from tench.data.source import open_source
from tench.errors import UsageError
from tench.evaluation.evaluate import evaluate
from tench.evaluation.predict import predict
from tench.training.batch_loader import loader
from tench.training.fit import fit
from tench.training.preview import preview
from tench.training.recipe import Recipe
from tench.weights.own import ModelCard, load
from tench.weights.recognise import CARD

RECIPE = Recipe().replace(arch="mlp", image_size=32, epochs=2, batch_size=8, lr=0.01, val_fraction=0.25)
TAG = 274
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""By EXIF orientation: how a camera held that way stores an upright scene."""


def stored(image: Image.Image, orientation: int) -> bytes:
    """A PNG that shows the image once its orientation is applied."""
    transpose, tags = STORED[orientation], Image.Exif()
    tags[TAG] = orientation
    return encoded(image if transpose is None else image.transpose(transpose), "PNG", exif=tags)


def write(folder: Path, *, tagged: bool, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write sixteen photographs of two classes: in all eight orientations with tags, or the same ones upright."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            image = part(70 + number, 50, 8 * label + number)
            (folder / name / f"{number}.png").write_bytes(stored(image, number + 1 if tagged else 1))
    return folder


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("turned"), tagged=True)


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("upright"), tagged=False)


@pytest.mark.parametrize("view", ["pad-crop", "random-resized-crop", "resize-crop", "mxnet"])
def test_training_on_rotated_photographs_equals_training_on_upright_ones(
    turned: Path, upright: Path, tmp_path: Path, view: str
) -> None:
    recipe = RECIPE.replace(train_view=view, short_side=(36, 48), policy="trivialaugment-wide")
    runs = [fit(source, recipe=recipe, run=tmp_path / source.name).folder for source in (turned, upright)]
    first, second = (load(run).module.state_dict() for run in runs)
    assert equal_in_all(dict(first), dict(second))


def test_a_tiff_which_pillow_turns_itself_does_not_count_as_rotated(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", tagged=False)
    tags = Image.Exif()
    tags[TAG] = 6
    (folder / "cat" / "0.png").write_bytes(encoded(part(70, 50, 0), "JPEG", exif=tags))
    (folder / "dog" / "0.png").write_bytes(encoded(part(70, 50, 0), "TIFF", exif=tags))
    assert sampled(open_source(folder).splits["train"]) == (1, 16)


def test_a_run_logs_once_how_it_treats_exif_and_keeps_to_it(
    turned: Path, upright: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = fit(turned, recipe=RECIPE, run=tmp_path / "run").folder
    said = [record.message for record in caplog.records if "EXIF" in record.message]
    assert len(said) == 1
    assert said[0].startswith("EXIF orientation: applied; ")
    assert said[0].endswith(" of a sample of 12 images have one.")
    assert yaml.safe_load((run / "recipe.yaml").read_text())["input"]["exif"] == "apply"
    assert json.loads((run / CARD).read_text())["exif"] == "apply"
    found, expected = (evaluate(run, folder, split="train") for folder in (turned, upright))
    assert found.losses.tolist() == expected.losses.tolist()
    guesses = [list(predict(run, folder)) for folder in (turned, upright)]
    assert [one.predictions for one in guesses[0]] == [one.predictions for one in guesses[1]]


def test_an_image_is_rotated_upright_in_whatever_form_it_is_passed(turned: Path, upright: Path, tmp_path: Path) -> None:
    run = fit(turned, recipe=RECIPE.replace(epochs=1), run=tmp_path / "run").folder
    classifier = load(run)
    for number in range(8):
        file = turned / f"cat/{number}.png"
        with Image.open(file) as image:
            forms = classifier.probabilities([file, file.read_bytes(), image])
        expected = classifier.probabilities([upright / f"cat/{number}.png"] * 3)
        assert (forms == expected).all()


@pytest.mark.parametrize(("exif", "expected"), [("auto", True), ("apply", True), ("ignore", False)])
def test_other_training_loops_get_the_same_images_as_fit(
    turned: Path, upright: Path, exif: Literal["auto", "apply", "ignore"], expected: bool
) -> None:
    with (
        loader(turned, "val", RECIPE.replace(exif=exif), device="cpu", threads=1) as found,
        loader(upright, "val", RECIPE, device="cpu", threads=1) as reference,
    ):
        equal = [torch.equal(*pair) for pair in zip(*(next(one.epoch(0)) for one in (found, reference)), strict=True)]
        assert equal == [expected, True, True]
    singles, upright_ones = open_source(turned).as_torch(exif=exif), open_source(upright).as_torch()
    same = [singles[row][0].tobytes() == upright_ones[row][0].tobytes() for row in range(len(singles))]
    assert all(same) == expected


def test_ignore_shows_images_as_stored(turned: Path, upright: Path, tmp_path: Path) -> None:
    run = fit(turned, recipe=RECIPE.replace(exif="ignore"), run=tmp_path / "run").folder
    assert load(run).card.exif == "ignore"
    guesses = [list(predict(run, folder)) for folder in (turned, upright)]
    assert [one.predictions for one in guesses[0]] != [one.predictions for one in guesses[1]]


def test_a_run_from_before_this_option_existed_still_ignores_the_tag(
    turned: Path, tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    whole = fit(turned, recipe=RECIPE.replace(exif="ignore"), run=tmp_path / "whole").folder
    kill_before(1)
    with pytest.raises(Killed):
        fit(turned, recipe=RECIPE.replace(exif="ignore"), run=tmp_path / "killed")
    file = tmp_path / "killed/recipe.yaml"
    file.write_text(file.read_text().replace("  exif: ignore\n", ""))
    facts = tmp_path / "killed/environment.json"
    facts.write_text(json.dumps({key: value for key, value in json.loads(facts.read_text()).items() if key != "auto"}))
    continued = fit(turned, recipe=RECIPE, run=tmp_path / "killed").folder
    assert equal_in_all(dict(load(whole).module.state_dict()), dict(load(continued).module.state_dict()))
    assert load(continued).card.exif == "ignore"


def test_a_run_cannot_continue_with_the_other_setting(
    turned: Path, tmp_path: Path, kill_before: Callable[[int], None]
) -> None:
    kill_before(2)
    with pytest.raises(Killed):
        fit(turned, recipe=RECIPE.replace(epochs=4), run=tmp_path)
    with pytest.raises(UsageError, match=r"input\.exif was apply, now ignore"):
        fit(turned, recipe=RECIPE.replace(epochs=4, exif="ignore"), run=tmp_path)


def test_a_model_whose_card_lacks_the_value_ignores_the_tag(turned: Path, tmp_path: Path) -> None:
    run = fit(turned, recipe=RECIPE, run=tmp_path).folder
    card = json.loads((run / CARD).read_text())
    del card["exif"]
    assert ModelCard.from_json(card).exif == "ignore"


def test_auto_ignores_the_tag_in_published_sets_and_applies_it_in_others(tmp_path: Path) -> None:
    own = open_source(write(tmp_path / "own", tagged=True))
    imagenet = open_source(write(tmp_path / "imagenet", tagged=True, names=("n01440764", "n01443537")))
    fashion = ("T-shirt_top", "Trouser")
    assert exif.resolved("auto", own) == "apply"
    assert exif.resolved("auto", imagenet) == "ignore"
    assert exif.resolved("auto", open_source(write(tmp_path / "few", tagged=True, names=fashion))) == "apply"
    assert exif.resolved("auto", open_source("digits")) == "ignore"
    assert exif.resolved("apply", imagenet) == "apply"
    assert exif.resolved("ignore", own) == "ignore"


def test_cifar10_is_recognised_by_its_classes(tmp_path: Path) -> None:
    names = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    assert exif.resolved("auto", open_source(write(tmp_path, tagged=False, names=names))) == "ignore"


def test_raw_pixels_have_no_orientation() -> None:
    assert exif.sentence(open_source("digits").splits["train"], "ignore") == ""


def test_the_preview_shows_images_upright(turned: Path, upright: Path) -> None:
    first, second = (np.asarray(preview(open_source(folder), RECIPE)) for folder in (turned, upright))
    assert np.array_equal(first, second)


def test_a_table_of_rotated_images_decodes_to_the_upright_ones(turned: Path) -> None:
    table = exif.oriented(open_source(turned).splits["train"], "apply")
    for row in range(len(table)):
        name, number = table.key(row).removesuffix(".png").split("/")
        image = part(70 + int(number), 50, 8 * (name == "dog") + int(number))
        assert np.array_equal(decode_row(table, row, 3), array(image))
