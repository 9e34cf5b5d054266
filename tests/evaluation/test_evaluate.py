import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss

from tench.data.hold_out import hold_out
from tench.data.source import open_source
from tench.data.table import Classes, Table
from tench.errors import TenchError, UsageError
from tench.evaluation import evaluate as evaluate_module
from tench.evaluation.evaluate import Model, evaluate, evaluate_table
from tench.evaluation.evaluation import ClassResult
from tench.evaluation.measure import Metrics
from tench.run import Run
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.weights.own import NOT_FINITE, Classifier, ModelCard, load

QUICK = Recipe().replace(arch="mlp", epochs=3, batch_size=8, lr=0.02, precision="fp32", image_size=8)
OPTIONS = TrainOptions(device="cpu", threads=1)
CLASSES = "a b c d"


def test_the_error_for_out_of_memory_suggests_a_smaller_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*arguments: object) -> Metrics:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    table = open_source("digits").splits["val"]
    card = ModelCard(
        arch="mlp",
        classes=open_source("digits").classes,
        channels=1,
        image_size=8,
        eval_resize=8,
        interpolation="bilinear",
        mean=(0.5,),
        std=(0.5,),
    )
    monkeypatch.setattr(evaluate_module, "measure", measure)
    with pytest.raises(TenchError) as stopped:
        evaluate_table(Classifier(card.create_module(), card, "runs/1"), table, batch_size=64)
    assert str(stopped.value) == (
        "runs/1: batches of 64 on cpu: not enough memory. Use a smaller --batch-size. (CUDA out of memory)"
    )


def test_an_empty_table_is_refused() -> None:
    table: Table = open_source("synthetic:images=4,size=8,val=0,format=pixels").splits["train"].subset(np.arange(0))
    card = ModelCard(
        arch="mlp",
        classes=Classes.numbered_to(10),
        channels=3,
        image_size=8,
        eval_resize=8,
        interpolation="bilinear",
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    with pytest.raises(TenchError, match="nothing has no images"):
        evaluate_table(Classifier(card.create_module(), card, "here"), table, where="nothing")


# A run evaluated on its own data and on other data.


def write_images(folder: Path, classes: str, count: int, seed: int = 0) -> Path:
    """Write class folders of noise around a different colour per class. `classes` are separated by spaces."""
    random = np.random.default_rng(seed)
    for name in classes.split():
        colour = np.random.default_rng(list(name.encode())).integers(40, 216, 3)
        for number in range(count):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = colour + random.integers(-40, 40, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources. photos: class folders alone. whole: train, val and test. some: two of the classes."""
    folder = tmp_path_factory.mktemp("sets")
    write_images(folder / "photos", CLASSES, 20)
    write_images(folder / "whole" / "train", CLASSES, 12, seed=1)
    write_images(folder / "whole" / "val", CLASSES, 5, seed=2)
    write_images(folder / "whole" / "test", CLASSES, 3, seed=3)
    write_images(folder / "some", "d b", 6, seed=4)
    return folder


@pytest.fixture(scope="module")
def trained(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three runs: on photos, on whole, and on photos validated on some."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        fit(sets / "photos", recipe=QUICK.replace(val_fraction=0.3), run=folder / "photos", options=OPTIONS)
        fit(sets / "whole", recipe=QUICK, run=folder / "whole", options=OPTIONS)
        fit(sets / "photos", val=sets / "some", recipe=QUICK, run=folder / "photos-some", options=OPTIONS)
        yield folder


def best_of(run: Path) -> dict[str, float]:
    metrics: dict[str, float] = json.loads((run / "model.json").read_text())["metrics"]
    return metrics


def by_hand(classifier: Classifier, files: list[Path]) -> tuple[float, float]:
    """(top-1, loss) of images of the network's size in class folders."""
    pixels = np.stack([np.asarray(Image.open(file)) for file in files]).astype(np.float32) / 255
    mean, std = (np.array(values, np.float32) for values in (classifier.card.mean, classifier.card.std))
    inputs = torch.from_numpy(((pixels - mean) / std).transpose(0, 3, 1, 2))
    labels = np.array([classifier.classes.ids.index(file.parent.name) for file in files])
    with torch.no_grad():
        probabilities = classifier.module(inputs).double().softmax(dim=1).numpy()
    every = np.arange(len(classifier.classes))
    return float((probabilities.argmax(axis=1) == labels).mean()), float(log_loss(labels, probabilities, labels=every))


@pytest.mark.parametrize("run", ["photos", "whole", "photos-some"])
def test_a_run_evaluated_on_its_own_data_gives_the_metrics_of_its_best_epoch(trained: Path, run: str) -> None:
    found = evaluate(load(trained / run, "cpu"), threads=1)
    best = best_of(trained / run)
    assert (found.top1, found.top5) == (best["top1"], best["top5"])
    assert found.loss == pytest.approx(best["loss"], rel=1e-5)
    assert found.images == Run(trained / run).metrics("epoch")[0]["val_images"]
    assert found.top1 > 0.4
    assert found.name


def test_the_result_names_what_was_evaluated(trained: Path, sets: Path) -> None:
    names = [evaluate(load(trained / run, "cpu")).name for run in ("photos", "whole", "photos-some")]
    assert names == [f"{sets / 'photos'} (held out of train)", f"{sets / 'whole'} (val)", f"{sets / 'some'} (train)"]


def test_the_held_out_part_is_the_one_that_training_did_not_use(trained: Path, sets: Path) -> None:
    classifier = load(trained / "photos", "cpu")
    held = hold_out(open_source(sets / "photos").splits["train"], 0.3)[1]
    files = [sets / "photos" / key for key in held.keys()]  # noqa: SIM118  # a table is not a dict
    found = evaluate(classifier, str(sets / "photos"))
    assert found.images == len(files) == 24
    assert (found.top1, found.loss) == pytest.approx(by_hand(classifier, files), rel=1e-4)


@pytest.mark.parametrize(("split", "count"), [("train", 48), ("val", 20), ("test", 12)])
def test_another_split_can_be_named(trained: Path, sets: Path, split: str, count: int) -> None:
    classifier = load(trained / "whole", "cpu")
    found = evaluate(classifier, split=split, batch_size=7)
    assert found.name == f"{sets / 'whole'} ({split})"
    assert found.images == count
    files = sorted((sets / "whole" / split).glob("*/*.png"))
    assert (found.top1, found.loss) == pytest.approx(by_hand(classifier, files), rel=1e-4)


def test_the_error_about_a_missing_split_lists_the_existing_ones(trained: Path, sets: Path) -> None:
    with pytest.raises(TenchError) as refused:
        evaluate(load(trained / "photos", "cpu"), split="test")
    assert str(refused.value) == f"{sets / 'photos'} has no split 'test'; it has train."


def test_classes_in_a_different_order_are_matched_by_name(trained: Path, sets: Path) -> None:
    classifier = load(trained / "whole", "cpu")
    found = evaluate(classifier, str(sets / "some"))  # labels b: 0, d: 1; in the model a: 0, b: 1, ...
    files = sorted((sets / "some").glob("*/*.png"))
    assert found.images == len(files) == 12
    assert (found.top1, found.loss) == pytest.approx(by_hand(classifier, files), rel=1e-4)
    assert [result.images for result in found.per_class] == [0, 6, 0, 6]


def test_all_images_of_class_folders_that_training_never_saw_are_evaluated(trained: Path, sets: Path) -> None:
    found = evaluate(load(trained / "whole", "cpu"), str(sets / "photos"))
    assert found.name == f"{sets / 'photos'} (train)"
    assert found.images == 80


def test_a_training_set_without_held_out_images_is_refused(trained: Path, sets: Path) -> None:
    with pytest.raises(TenchError) as refused:
        evaluate(load(trained / "photos-some", "cpu"), str(sets / "photos"))
    assert str(refused.value) == (
        f"{sets / 'photos'} (train): the model was trained on all 80 images, so no image is left to evaluate it on. "
        "Name other images. To count all of them, add --split train."
    )


def test_a_training_set_whose_split_is_named_is_evaluated_whole_and_reported_as_such(
    trained: Path, sets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = evaluate(trained / "photos", sets / "photos", split="train")
    note = f"{sets / 'photos'} (train): 56 of 80 images were used to train the model, so the result says little about "
    assert (found.images, found.num_trained_on, found.notes) == (80, 56, (f"{note}new images.",))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"Note: {note}new images."
    ]


def test_an_unknown_class_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    write_images(tmp_path, "a zebra", 2)
    with pytest.raises(TenchError) as refused:
        evaluate(load(trained / "whole", "cpu"), str(tmp_path))
    assert str(refused.value).startswith(
        f"1 of the 2 classes of {tmp_path} is not in the model: zebra. the model has 4 classes: a, b, c, d."
    )


def test_images_without_labels_are_refused(trained: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "train", CLASSES, 2)
    write_images(tmp_path / "test", "images", 3)
    with pytest.raises(TenchError) as refused:
        evaluate(load(trained / "whole", "cpu"), str(tmp_path), split="test")
    assert str(refused.value) == (
        f"{tmp_path} (test): 3 of 3 images have no label, such as 0.png. "
        "Training and evaluation need a label for each image; tench predict does not."
    )


def test_the_weights_file_of_a_run_is_evaluated_on_the_runs_data(trained: Path) -> None:
    found = evaluate(load(trained / "whole" / "best.safetensors", "cpu"))
    assert found.top1 == best_of(trained / "whole")["top1"]


def weights_alone(run: Path, folder: Path) -> Path:
    """A copy of the weights and model card of a run, in another folder."""
    for name in ("best.safetensors", "model.json"):
        shutil.copy(run / name, folder / name)
    return folder / "best.safetensors"


def test_weights_moved_out_of_their_run_can_still_find_their_data(trained: Path, sets: Path, tmp_path: Path) -> None:
    weights = weights_alone(trained / "whole", tmp_path)
    found = evaluate(weights)
    assert found.top1 == best_of(trained / "whole")["top1"]
    found = evaluate(weights, str(sets / "whole"))
    assert found.top1 == best_of(trained / "whole")["top1"]


def test_a_card_without_data_needs_a_source(trained: Path, tmp_path: Path) -> None:
    weights = weights_alone(trained / "whole", tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    del card["trained_on"]
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(UsageError) as refused:
        evaluate(weights)
    assert str(refused.value) == f"{weights} has no record of what it was trained on. Name the dataset to evaluate."


def test_a_folder_that_the_model_was_not_trained_on_is_evaluated_whole(trained: Path, sets: Path) -> None:
    found = evaluate(trained / "whole", str(sets / "photos"))
    assert found.name == f"{sets / 'photos'} (train)"
    assert found.images == 80


def test_the_result_has_the_numbers_of_each_class(trained: Path) -> None:
    found = evaluate(trained / "whole")
    assert [(one.id, one.name, one.images) for one in found.per_class] == [(name, name, 5) for name in "abcd"]
    assert sum(one.correct for one in found.per_class) == round(found.top1 * found.images)
    assert ClassResult("a", "a", 0, 0).top1 is None
    assert ClassResult("a", "a", 4, 3).top1 == 0.75


def test_the_result_has_the_answer_for_each_image(trained: Path, sets: Path) -> None:
    classifier = load(trained / "whole", "cpu")
    found = evaluate(classifier)
    assert found.labels.shape == found.losses.shape == (20,)
    assert found.predicted.shape == found.probabilities.shape == (20, 4)
    for row in range(found.images):
        path = sets / "whole" / "val" / found.key(row)
        assert found.classes.ids[found.labels[row]] == path.parent.name
        expected = classifier.probabilities(path)[0]
        assert found.predicted[row].tolist() == np.argsort(-expected, kind="stable").tolist()
        assert found.probabilities[row] == pytest.approx(np.sort(expected)[::-1], abs=1e-5)
        assert found.losses[row] == pytest.approx(-np.log(expected[found.labels[row]]), abs=1e-4)


def test_the_result_as_json_and_as_text(trained: Path, sets: Path) -> None:
    found = evaluate(trained / "whole")
    data = json.loads(json.dumps(found.to_json()))
    numbers = {name: data[name] for name in ("images", "top1", "top5", "loss", "split", "trained_on", "source")}
    assert numbers == {
        "images": 20,
        "top1": found.top1,
        "top5": 1.0,
        "loss": found.loss,
        "split": "val",
        "trained_on": 0,
        "source": str(sets / "whole"),
    }
    assert data["per_class"][1] == {
        "id": "b",
        "name": "b",
        "images": 5,
        "correct": found.per_class[1].correct,
        "top1": found.per_class[1].correct / 5,
    }
    assert str(found) == (
        f"{sets / 'whole'} (val): 20 images, each counted once\n"
        f"top-1 {found.top1:.2%}   top-5 100.00%   loss {found.loss:.4f}"
    )


def test_a_run_a_path_and_a_classifier_are_evaluated_alike(trained: Path) -> None:
    models: list[Model] = [Run(trained / "whole"), trained / "whole", str(trained / "whole" / "best.safetensors")]
    losses = {evaluate(model, device="cpu").loss for model in models}
    assert losses == {evaluate(load(trained / "whole", "cpu")).loss}


def test_an_open_dataset_is_evaluated(trained: Path, sets: Path) -> None:
    found = evaluate(trained / "whole", open_source(sets / "whole"), split="test")
    assert (found.images, found.source, found.split) == (12, str(sets / "whole"), "test")


def test_arguments_without_effect_or_out_of_range_are_refused(trained: Path) -> None:
    classifier = load(trained / "whole", "cpu")
    with pytest.raises(UsageError) as refused:
        evaluate(classifier, device="cuda")
    assert str(refused.value) == (
        f"{classifier.source}: the model is already loaded, so device='cuda' has no effect. Pass device to load "
        "instead."
    )
    with pytest.raises(UsageError) as refused:
        evaluate(classifier, batch_size=0)
    assert str(refused.value) == "batch_size must be at least 1, got 0."


def test_a_run_on_several_sources_is_evaluated_on_the_same_images_again(sets: Path, tmp_path: Path) -> None:
    for name, letters in {"one": "a b", "two": "c b e"}.items():
        for letter in letters.split():
            for number in range(6):
                path = tmp_path / name / letter / f"{name}{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 20 * ord(letter) % 256).save(path)
    sources = (tmp_path / "one", tmp_path / "two")
    recipe = QUICK.replace(val_per_class=1, min_images=6)
    run = fit(sources, recipe=recipe, run=tmp_path / "run", options=OPTIONS)
    card = load(run.folder).card
    assert card.classes.ids == ("a", "b", "c", "e")
    assert card.trained_on["source"] == [str(source) for source in sources]
    metrics = evaluate(run)
    assert metrics.name == f"{tmp_path}/one + {tmp_path}/two (val)"
    assert (metrics.images, metrics.per_class[1].images) == (5, 2)  # of class b, one from each source
    assert metrics.top1 == card.metrics["top1"]
    again = fit(sources, recipe=recipe, run=tmp_path / "run", options=OPTIONS)
    assert again.folder == run.folder


def test_there_are_no_metrics_if_the_logits_of_an_image_are_not_finite(
    trained: Path,
) -> None:
    classifier = load(trained / "whole", "cpu")
    with torch.no_grad():
        next(classifier.module.parameters()).fill_(torch.nan)
    with pytest.raises(TenchError) as refused:
        evaluate(classifier)
    message = str(refused.value)
    assert message.startswith(f"{classifier.source}: no metrics, because for ")
    assert f" images {NOT_FINITE}. The first is " in message
