"""The images that a model is evaluated on: never silently those it was trained on, wherever they are now."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data import miniature

from tench.data.formats import wordnet
from tench.data.options import SourceOptions
from tench.data.prepare.prepare import prepare
from tench.data.source import open_source
from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.evaluation.choose import choose
from tench.evaluation.evaluate import evaluate
from tench.evaluation.measure import PLAIN
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.weights.recognise import IMAGES

QUICK = Recipe().replace(arch="mlp", epochs=1, batch_size=8, lr=0.02, precision="fp32", image_size=8)
OPTIONS = TrainOptions(device="cpu", threads=1)


def write_images(folder: Path, classes: str, count: int, seed: int = 0, suffix: str = "png") -> Path:
    """Write class folders of noise images. `classes` are separated by spaces."""
    random = np.random.default_rng(seed)
    for name in classes.split():
        for number in range(count):
            path = folder / name / f"{number:03}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dataset `set` of 3 classes of 10 images, and two runs on it.

    The run `fraction` holds out 3 images of each class, `per-class` 2.
    """
    folder = tmp_path_factory.mktemp("original")
    write_images(folder / "set", "a b c", 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        fit(folder / "set", recipe=QUICK.replace(val_fraction=0.3), run=folder / "fraction", options=OPTIONS)
        fit(folder / "set", recipe=QUICK.replace(val_per_class=2), run=folder / "per-class", options=OPTIONS)
        yield folder


HELD_OUT = {"fraction": 9, "per-class": 6}


def held_out_of(run: Path) -> float:
    """The loss that training measured on the held-out images."""
    loss: float = json.loads((run / "model.json").read_text())["metrics"]["loss"]
    return loss


def linked(original: Path, tmp_path: Path) -> Path:
    (tmp_path / "link").symlink_to(original / "set")
    return tmp_path / "link"


def copied(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original / "set", tmp_path / "copy"))


def packed(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.make_archive(str(tmp_path / "packed"), "tar", original / "set"))


def as_shards(original: Path, tmp_path: Path) -> Path:
    prepare(original / "set", tmp_path / "shards", "webdataset")
    return tmp_path / "shards"


def renamed(original: Path, tmp_path: Path) -> Path:
    """The same files under other names, where one old name now belongs to another image of its class."""
    folder = copied(original, tmp_path)
    for path in sorted(folder.glob("*/*.png")):
        path.rename(path.with_name(f"{(int(path.stem) + 1) % 10:03}.new.png"))
    return folder


def below_another_folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original / "set", tmp_path / "outer" / "train")
    return tmp_path / "outer"


@pytest.mark.parametrize("move", [linked, copied, packed, as_shards, renamed, below_another_folder])
@pytest.mark.parametrize("run", ["fraction", "per-class"])
def test_the_held_out_images_of_moved_data_are_evaluated(
    original: Path, tmp_path: Path, run: str, move: object
) -> None:
    assert callable(move)
    found = evaluate(original / run, move(original, tmp_path), device="cpu")
    assert (found.images, found.num_trained_on) == (HELD_OUT[run], 0)
    assert found.loss == pytest.approx(held_out_of(original / run), rel=1e-5)


def test_two_images_of_equal_length_with_swapped_names_are_still_recognised(tmp_path: Path) -> None:
    write_images(tmp_path / "set", "a b", 8, suffix="bmp")  # all of the same length
    run = fit(tmp_path / "set", recipe=QUICK.replace(val_fraction=0.25), run=tmp_path / "run", options=OPTIONS)
    before = evaluate(run)
    trained = sorted({f"a/{number:03}.bmp" for number in range(8)} - {before.key(row) for row in range(before.images)})
    held = next(before.key(row) for row in range(before.images) if before.key(row).startswith("a/"))
    copy = Path(shutil.copytree(tmp_path / "set", tmp_path / "copy"))
    (copy / held).write_bytes((tmp_path / "set" / trained[0]).read_bytes())
    (copy / trained[0]).write_bytes((tmp_path / "set" / held).read_bytes())
    after = evaluate(run, copy)
    assert {after.key(row) for row in range(after.images)} >= {trained[0]}
    assert after.loss == pytest.approx(before.loss, rel=1e-5)


def test_added_images_count_as_new_but_copies_of_training_images_do_not(original: Path, tmp_path: Path) -> None:
    folder = copied(original, tmp_path)
    held = {evaluate(original / "fraction").key(row) for row in range(9)}
    trained = next(key for key in sorted(f"a/{number:03}.png" for number in range(10)) if key not in held)
    shutil.copy(folder / trained, folder / "a" / "copy.png")
    write_images(tmp_path / "more", "b", 2, seed=9)
    for path in (tmp_path / "more" / "b").iterdir():
        shutil.copy(path, folder / "b" / f"new{path.name}")
    found = evaluate(original / "fraction", folder)
    assert {found.key(row) for row in range(found.images)} == held | {"b/new000.png", "b/new001.png"}
    assert found.name == f"{folder} (train, without training images)"
    assert found.notes == (
        f"{folder} (train): 22 of 33 images were used to train the model and were left out. Evaluated: 9 held out by "
        "the run and 2 new to it. To count all of them, add --split train.",
    )


def test_training_images_are_recognised_in_a_split_with_another_name(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original / "set", tmp_path / "other" / "val")
    write_images(tmp_path / "other" / "train", "a b c", 2, seed=5)
    found = evaluate(original / "fraction", tmp_path / "other")
    assert (found.split, found.images) == ("val", 9)
    assert found.notes == (
        f"{tmp_path}/other (val): 21 of 30 images were used to train the model and were left out. Evaluated: 9 held "
        "out by the run. To count all of them, add --split val.",
    )


def test_copies_that_were_re_encoded_are_not_recognised_and_the_note_says_so(original: Path, tmp_path: Path) -> None:
    folder = copied(original, tmp_path)
    for path in folder.glob("*/*.png"):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    found = evaluate(original / "fraction", folder)
    assert (found.images, found.num_trained_on) == (30, 0)
    assert found.notes == (
        f"{folder} (train): none of these 30 images is identical to an image of the run, but 21 have the name and "
        "class of a training image. If they are copies that were re-encoded or resized, the result says little about "
        "new images.",
    )
    for path in folder.glob("*/*.bmp"):
        path.rename(path.with_stem(f"other{path.stem}"))
    assert evaluate(original / "fraction", folder).notes == (
        f"{folder} (train): none of these 30 images is identical to an image of the run. Training images that were "
        "re-encoded or resized are not recognised.",
    )


def test_different_images_with_the_same_lengths_and_names_count_as_new(tmp_path: Path) -> None:
    write_images(tmp_path / "set", "a b", 8, suffix="bmp")
    write_images(tmp_path / "other", "a b", 8, seed=1, suffix="bmp")
    run = fit(tmp_path / "set", recipe=QUICK, run=tmp_path / "run", options=OPTIONS)
    assert evaluate(run, tmp_path / "other").images == 16


def test_one_or_all_of_several_sources_can_be_evaluated_after_a_move(tmp_path: Path) -> None:
    one, two = write_images(tmp_path / "one", "a b", 10), write_images(tmp_path / "two", "c d", 10, seed=1)
    run = fit((one, two), recipe=QUICK.replace(val_fraction=0.2), run=tmp_path / "run", options=OPTIONS)
    assert evaluate(run).images == 8
    alone = evaluate(run, one)
    assert (alone.images, alone.name) == (4, f"{one} (held out of train)")
    one.rename(tmp_path / "one-moved")
    two.rename(tmp_path / "two-moved")
    moved = evaluate(run, (tmp_path / "one-moved", tmp_path / "two-moved"))
    assert moved.images == 8
    assert moved.loss == pytest.approx(held_out_of(run.folder), rel=1e-5)
    with pytest.raises(UsageError) as refused:
        evaluate(run)
    assert str(refused.value) == (
        f"{one}: no such file or folder. The run was validated on it. If it has moved, give its new location: "
        "tench evaluate RUN SOURCE --with SOURCE"
    )


def test_moved_data_is_read_with_the_options_of_training(tmp_path: Path) -> None:
    """Labels come from file names; without the option, the folder is not a dataset."""
    (tmp_path / "flat").mkdir()
    for path in write_images(tmp_path / "set", "a b", 10).glob("*/*.png"):
        shutil.copy(path, tmp_path / "flat" / f"{path.parent.name}.{path.name}")
    options = SourceOptions(label_from=r"^([a-z]+)\.")
    dataset = open_source(tmp_path / "flat", options)
    run = fit(dataset, recipe=QUICK.replace(val_fraction=0.2), run=tmp_path / "run", options=OPTIONS)
    (tmp_path / "flat").rename(tmp_path / "moved")
    assert evaluate(run, tmp_path / "moved").images == 4


def test_the_runs_validation_set_is_counted_whole_and_a_note_reports_copies_of_training_images(
    tmp_path: Path,
) -> None:
    write_images(tmp_path / "set" / "train", "a b", 6)
    write_images(tmp_path / "set" / "val", "a b", 3, seed=1)
    for name in ("a/000.png", "b/002.png"):  # one with the same key, one with another key
        shutil.copy(tmp_path / "set" / "train" / name, tmp_path / "set" / "val" / "a" / "000.png")
        shutil.copy(tmp_path / "set" / "train" / name, tmp_path / "set" / "val" / "b" / "001.png")
    run = fit(tmp_path / "set", recipe=QUICK, run=tmp_path / "run", options=OPTIONS)
    found = evaluate(run)
    assert (found.images, found.num_trained_on) == (6, 2)
    assert found.notes == (
        f"{tmp_path / 'set'} (val): 2 images of the run's validation set are in its training set too.",
    )
    assert found.loss == pytest.approx(held_out_of(run.folder), rel=1e-5)
    (tmp_path / "set").rename(tmp_path / "moved")
    assert evaluate(run, tmp_path / "moved").images == 6


# Weights without their run.


def weights_alone(run: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in ("best.safetensors", "model.json"):
        shutil.copy(run / name, folder / name)
    return folder / "best.safetensors"


@pytest.mark.parametrize("run", ["fraction", "per-class"])
def test_weights_without_their_run_recognise_unchanged_data_anywhere(original: Path, tmp_path: Path, run: str) -> None:
    weights = weights_alone(original / run, tmp_path / "weights")
    found = evaluate(weights, copied(original, tmp_path))
    assert found.images == HELD_OUT[run]
    assert found.loss == pytest.approx(held_out_of(original / run), rel=1e-5)


def test_weights_without_their_run_are_evaluated_on_other_data_with_a_note(original: Path, tmp_path: Path) -> None:
    weights = weights_alone(original / "fraction", tmp_path / "weights")
    found = evaluate(weights, renamed(original, tmp_path))
    assert (found.images, found.num_trained_on) == (30, None)
    assert found.notes == (
        f"{tmp_path / 'copy'} (train): {weights} has no record of its training images, so it may have been trained "
        "on these.",
    )


def test_weights_without_their_run_refuse_a_training_set_that_has_changed(tmp_path: Path) -> None:
    write_images(tmp_path / "set", "a b", 5)
    run = fit(tmp_path / "set", recipe=QUICK, run=tmp_path / "run", options=OPTIONS)
    weights = weights_alone(run.folder, tmp_path / "weights")
    (tmp_path / "set/a/more.png").write_bytes((tmp_path / "set/a/000.png").read_bytes())
    with pytest.raises(TenchError) as refused:
        evaluate(weights)
    assert str(refused.value) == (
        f"{tmp_path / 'set'} has changed since {weights} was trained on it, and the weights come without a record of "
        "its images, so it is unknown which images were held out. Evaluate the run directory instead of its weights, "
        "or use --split train to count all images."
    )


def test_the_record_of_another_run_is_ignored(original: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "set", "a b c", 5, seed=3)
    run = fit(tmp_path / "set", recipe=QUICK, run=tmp_path / "run", options=OPTIONS)
    shutil.copy(original / "fraction" / IMAGES, run.folder / IMAGES)
    assert evaluate(run, copied(original, tmp_path)).num_trained_on is None


# Sets with their own scores.


def test_imagenet_a_is_scored_among_its_200_classes(tmp_path: Path) -> None:
    for wnid in ("n01498041", "n07753592"):  # the classes stingray and banana
        (tmp_path / "imagenet-a" / wnid).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "imagenet-a" / wnid / "1.jpg")
    classes = Classes.of(wordnet.imagenet())
    chosen = choose(tmp_path / "imagenet-a", classes, None, trained_on={})
    table, rule = chosen.table, chosen.rule
    assert chosen.name == f"{tmp_path}/imagenet-a (test)"
    assert [classes.ids[label] for label in table.labels] == ["n01498041", "n07753592"]
    assert rule.among is not None
    assert [classes.ids[index] for index in rule.among] == list(wordnet.subset("a"))


def test_real_labels_cover_the_val_images_that_have_such_labels(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    classes = Classes.of(sorted(miniature.CLASSES))
    indices = [wordnet.imagenet().index(wnid) for wnid in classes.ids]
    sets = [[] if number % 4 == 1 else [indices[number % 6], indices[5]] for number in range(len(miniature.VAL))]
    (tmp_path / "real.json").write_text(json.dumps(sets))
    chosen = choose(tmp_path, classes, "real", trained_on={})
    table, rule = chosen.table, chosen.rule
    assert chosen.name == f"{tmp_path} (real)"
    assert len(table) == 9
    assert rule.accepted is not None
    for row in range(len(table)):
        number = int(table.key(row)[-13:-5]) - 1
        assert set(rule.accepted[row]) == {number % 6, 5}
    assert choose(tmp_path, classes, None, trained_on={}).rule == PLAIN
