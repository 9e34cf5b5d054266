import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score
from tests.data import miniature
from torch import nn

from tench.data.formats import wordnet
from tench.data.hold_out import hold_out
from tench.data.source import open_source
from tench.data.table import Classes, Table
from tench.errors import TenchError, UsageError
from tench.evaluation import evaluate as evaluate_module
from tench.evaluation.evaluate import (
    Metrics,
    Rule,
    evaluate,
    evaluate_source,
    evaluation_order,
    evaluation_table,
    measure,
)
from tench.input.loader import Batch
from tench.run import Run
from tench.training.fit import fit
from tench.training.options import TrainOptions
from tench.training.recipe import Recipe
from tench.weights.own import NOT_FINITE, Classifier, ModelCard, Normalise, load

CPU = torch.device("cpu")
PLAIN = Normalise((0.0,), (1.0,), CPU)
QUICK = Recipe().replace(arch="mlp", epochs=3, batch_size=8, lr=0.02, precision="fp32", image_size=8)
OPTIONS = TrainOptions(device="cpu", threads=1)
CLASSES = "a b c d"


class Lookup(nn.Module):
    """Gives the logits of a table; the first pixel of an image says which."""

    def __init__(self, logits: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.from_numpy(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[(images[:, 0, 0, 0] * 255).round().long()]


def batches(rows: list[list[int]], labels: npt.NDArray[np.int64]) -> Iterator[Batch]:
    for part in rows:
        images = torch.tensor(part, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        yield Batch(images, torch.from_numpy(labels[part]), torch.tensor(part))


def in_batches_of(size: int, count: int) -> list[list[int]]:
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def logits_and_labels(count: int, num_classes: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    random = np.random.default_rng(5)
    logits = random.normal(0, 3, (count, num_classes)).astype(np.float32)
    return logits, random.permutation(np.arange(count) % num_classes)


def test_where_memory_does_not_suffice_a_smaller_batch_is_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
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
        evaluate(Classifier(card.create_module(), card, "runs/1"), table, batch_size=64)
    assert str(stopped.value) == (
        "runs/1: batches of 64 on cpu: there is not enough memory. Take a smaller --batch-size. (CUDA out of memory)"
    )


@pytest.mark.parametrize("batch_size", range(1, 24))
def test_metrics_are_scikit_learns_whatever_the_batch_size(batch_size: int) -> None:
    count, num_classes = 23, 7
    logits, labels = logits_and_labels(count, num_classes)
    found = measure(Lookup(logits), batches(in_batches_of(batch_size, count), labels), count, PLAIN)
    every = np.arange(num_classes)
    shifted = np.exp(logits.astype(np.float64))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    assert found.images == count
    assert found.top1 == top_k_accuracy_score(labels, logits, k=1, labels=every)
    assert found.top5 == top_k_accuracy_score(labels, logits, k=5, labels=every)
    assert found.loss == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-5)
    confusion = confusion_matrix(labels, logits.argmax(axis=1), labels=every)
    assert found.per_class == tuple(zip(confusion.sum(axis=1), confusion.diagonal(), strict=True))


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_with_five_classes_or_fewer_each_image_is_among_the_first_five(num_classes: int) -> None:
    logits, labels = logits_and_labels(12, num_classes)
    assert measure(Lookup(logits), batches(in_batches_of(5, 12), labels), 12, PLAIN).top5 == 1.0


def test_a_class_without_images_is_counted_as_none() -> None:
    logits, labels = logits_and_labels(12, 6)
    found = measure(Lookup(logits), batches(in_batches_of(4, 12), labels % 5), 12, PLAIN)
    assert len(found.per_class) == 6
    assert found.per_class[5] == (0, 0)


def test_among_some_classes_the_model_chooses_between_these_alone() -> None:
    logits, labels = logits_and_labels(40, 9)
    among = [1, 2, 3, 5, 7, 8]
    labels = np.array(among)[labels % len(among)]
    rule = Rule(among=tuple(among))
    found = measure(Lookup(logits), batches(in_batches_of(7, 40), labels), 40, PLAIN, rule)
    theirs = np.searchsorted(among, labels)
    part = logits[:, among].astype(np.float64)
    probabilities = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
    assert found.top1 == top_k_accuracy_score(theirs, part, k=1, labels=range(6))
    assert found.top5 == top_k_accuracy_score(theirs, part, k=5, labels=range(6))
    assert found.loss == pytest.approx(log_loss(theirs, probabilities, labels=range(6)), rel=1e-5)
    assert found.top1 > measure(Lookup(logits), batches(in_batches_of(7, 40), labels), 40, PLAIN).top1


def test_with_several_accepted_classes_any_of_them_is_right() -> None:
    logits, labels = logits_and_labels(30, 12)
    sets = [[int(label), (3 * row) % 12, (5 * row) % 12][: 1 + row % 3] for row, label in enumerate(labels)]
    found = measure(Lookup(logits), batches(in_batches_of(4, 30), labels), 30, PLAIN, Rule(accepted=sets))
    ranked = np.argsort(-logits, axis=1)
    assert found.top1 == np.mean([ranked[row, 0] in sets[row] for row in range(30)])
    assert found.top5 == np.mean([bool({*ranked[row, :5]} & {*sets[row]}) for row in range(30)])


def test_imagenet_a_is_scored_among_its_200_classes(tmp_path: Path) -> None:
    for wnid in ("n01498041", "n07753592"):  # stingray, banana
        (tmp_path / "imagenet-a" / wnid).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "imagenet-a" / wnid / "1.jpg")
    classes = Classes.of(wordnet.imagenet())
    name, table, rule = evaluation_table(tmp_path / "imagenet-a", classes, None, {})
    assert name == f"{tmp_path}/imagenet-a (test)"
    assert [classes.ids[label] for label in table.labels] == ["n01498041", "n07753592"]
    assert rule.among is not None
    assert [classes.ids[index] for index in rule.among] == list(wordnet.subset("a"))


def test_real_labels_are_those_of_the_images_of_val_that_have_some(tmp_path: Path) -> None:
    miniature.ilsvrc(tmp_path)
    classes = Classes.of(sorted(miniature.CLASSES))
    indices = [wordnet.imagenet().index(wnid) for wnid in classes.ids]
    sets = [[] if number % 4 == 1 else [indices[number % 6], indices[5]] for number in range(len(miniature.VAL))]
    (tmp_path / "real.json").write_text(json.dumps(sets))
    name, table, rule = evaluation_table(tmp_path, classes, "real", {})
    assert name == f"{tmp_path} (real)"
    assert len(table) == 9
    assert rule.accepted is not None
    for row in range(len(table)):
        number = int(table.key(row)[-13:-5]) - 1
        assert set(rule.accepted[row]) == {number % 6, 5}
    assert evaluation_table(tmp_path, classes, None, {})[2] == Rule()


@pytest.mark.parametrize(
    ("rows", "counted"),
    [
        ([[0, 1, 2], [2, 3, 4]], "1-2"),
        ([[0, 1, 2], [3]], "0-1"),
        ([[0, 1, 2], [4]], "0-1"),
        ([[0, 1], [1, 2, 3]], "0-2"),
        ([], "0-0"),
        ([[0, 0, 1, 2, 3, 4]], "1-2"),
    ],
)
def test_an_image_counted_twice_or_left_out_is_a_failure(rows: list[list[int]], counted: str) -> None:
    logits, labels = logits_and_labels(5, 3)
    with pytest.raises(AssertionError) as failed:
        measure(Lookup(logits), batches(rows, labels), 5, PLAIN)
    assert str(failed.value) == f"5 images, but some were counted {counted} times"


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_measured_in_evaluation_mode_and_left_as_it_was(training: bool) -> None:
    logits, labels = logits_and_labels(6, 3)
    seen = []
    module = Lookup(logits).train(training)
    module.register_forward_hook(lambda module, inputs, output: seen.append(module.training))
    measure(module, batches(in_batches_of(4, 6), labels), 6, PLAIN)
    assert seen == [False, False]
    assert module.training is training


@pytest.mark.parametrize("batch_size", range(1, 8))
def test_the_order_of_evaluation_has_each_row_once(batch_size: int) -> None:
    table = open_source("synthetic:images=7,size=8,val=0,format=pixels").splits["train"]
    order = evaluation_order(table, batch_size)
    assert [row for step in range(order.steps_per_epoch) for row in order.rows(0, step)] == list(range(7))


# A run on its own data and on other data


def write_images(folder: Path, classes: str, count: int, seed: int = 0) -> Path:
    """Class folders of noise around a colour of the class's own; `classes` are words."""
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
    """photos: class folders alone. whole: train, val and test. some: two of the classes."""
    folder = tmp_path_factory.mktemp("sets")
    write_images(folder / "photos", CLASSES, 20)
    write_images(folder / "whole" / "train", CLASSES, 12, seed=1)
    write_images(folder / "whole" / "val", CLASSES, 5, seed=2)
    write_images(folder / "whole" / "test", CLASSES, 3, seed=3)
    write_images(folder / "some", "d b", 6, seed=4)
    return folder


@pytest.fixture(scope="module")
def trained(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs: photos, whole, and photos validated on some."""
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
    """(top-1, loss) of images whose folder is their class; they are of the network's size."""
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
    name, found = evaluate_source(load(trained / run, "cpu"), threads=1)
    best = best_of(trained / run)
    assert (found.top1, found.top5) == (best["top1"], best["top5"])
    assert found.loss == pytest.approx(best["loss"], rel=1e-5)
    assert found.images == Run(trained / run).metrics("epoch")[0]["val_images"]
    assert found.top1 > 0.4
    assert name


def test_what_was_evaluated_is_named(trained: Path, sets: Path) -> None:
    names = [evaluate_source(load(trained / run, "cpu"))[0] for run in ("photos", "whole", "photos-some")]
    assert names == [f"{sets / 'photos'} (held out of train)", f"{sets / 'whole'} (val)", f"{sets / 'some'} (train)"]


def test_the_held_out_part_is_the_one_that_training_did_not_see(trained: Path, sets: Path) -> None:
    classifier = load(trained / "photos", "cpu")
    held = hold_out(open_source(sets / "photos").splits["train"], 0.3)[1]
    files = [sets / "photos" / key for key in held.keys()]  # noqa: SIM118  # a table is no dict
    _, found = evaluate_source(classifier, str(sets / "photos"))
    assert found.images == len(files) == 24
    assert (found.top1, found.loss) == pytest.approx(by_hand(classifier, files), rel=1e-4)


@pytest.mark.parametrize(("split", "count"), [("train", 48), ("val", 20), ("test", 12)])
def test_another_split_can_be_named(trained: Path, sets: Path, split: str, count: int) -> None:
    classifier = load(trained / "whole", "cpu")
    name, found = evaluate_source(classifier, split=split, batch_size=7)
    assert name == f"{sets / 'whole'} ({split})"
    assert found.images == count
    files = sorted((sets / "whole" / split).glob("*/*.png"))
    assert (found.top1, found.loss) == pytest.approx(by_hand(classifier, files), rel=1e-4)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(trained: Path, sets: Path) -> None:
    with pytest.raises(TenchError) as refused:
        evaluate_source(load(trained / "photos", "cpu"), split="test")
    assert str(refused.value) == f"{sets / 'photos'}: has no split 'test'; it has train."


def test_classes_in_another_order_are_matched_by_name(trained: Path, sets: Path) -> None:
    classifier = load(trained / "whole", "cpu")
    _, found = evaluate_source(classifier, str(sets / "some"))  # its labels are b 0, d 1; the model's a 0, b 1, ...
    files = sorted((sets / "some").glob("*/*.png"))
    assert found.images == len(files) == 12
    assert (found.top1, found.loss) == pytest.approx(by_hand(classifier, files), rel=1e-4)
    assert [images for images, _ in found.per_class] == [0, 6, 0, 6]


def test_all_images_of_class_folders_that_training_never_saw_are_evaluated(trained: Path, sets: Path) -> None:
    name, found = evaluate_source(load(trained / "whole", "cpu"), str(sets / "photos"))
    assert name == f"{sets / 'photos'} (train)"
    assert found.images == 80


def test_a_training_set_of_which_nothing_was_held_out_is_called_what_it_is(trained: Path, sets: Path) -> None:
    name, found = evaluate_source(load(trained / "photos-some", "cpu"), str(sets / "photos"))
    assert name == f"{sets / 'photos'} (train)"
    assert found.images == 80


def test_an_unknown_class_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    write_images(tmp_path, "a zebra", 2)
    with pytest.raises(TenchError) as refused:
        evaluate_source(load(trained / "whole", "cpu"), str(tmp_path))
    assert str(refused.value).startswith(
        f"{tmp_path} has 1 of its 2 classes that the model does not have: zebra. the model has 4 classes: a, b, c, d."
    )


def test_images_without_labels_are_refused(trained: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "train", CLASSES, 2)
    write_images(tmp_path / "test", "images", 3)
    with pytest.raises(TenchError) as refused:
        evaluate_source(load(trained / "whole", "cpu"), str(tmp_path), split="test")
    assert str(refused.value) == (
        f"{tmp_path} (test): 3 of 3 images have no label, such as 0.png. "
        "Training and evaluating need a label for each image; tench predict needs none."
    )


def test_the_weights_file_of_a_run_knows_the_runs_data(trained: Path) -> None:
    _, found = evaluate_source(load(trained / "whole" / "best.safetensors", "cpu"))
    assert found.top1 == best_of(trained / "whole")["top1"]


def weights_alone(run: Path, folder: Path) -> Path:
    """A copy of a run's weights and their card, away from the run."""
    for name in ("best.safetensors", "model.json"):
        shutil.copy(run / name, folder / name)
    return folder / "best.safetensors"


def test_weights_away_from_their_run_still_know_their_data(trained: Path, sets: Path, tmp_path: Path) -> None:
    weights = weights_alone(trained / "whole", tmp_path)
    _, found = evaluate_source(weights)
    assert found.top1 == best_of(trained / "whole")["top1"]
    _, found = evaluate_source(weights, str(sets / "whole"))
    assert found.top1 == best_of(trained / "whole")["top1"]


def test_a_card_without_data_needs_a_source(trained: Path, tmp_path: Path) -> None:
    weights = weights_alone(trained / "whole", tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    del card["trained_on"]
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(UsageError) as refused:
        evaluate_source(weights)
    assert str(refused.value) == f"{weights}: does not say what it was trained on. Name the dataset to evaluate."


def test_a_folder_that_the_model_was_not_trained_on_is_evaluated_whole(trained: Path, sets: Path) -> None:
    name, found = evaluate_source(trained / "whole", str(sets / "photos"))
    assert name == f"{sets / 'photos'} (train)"
    assert found.images == 80


def test_a_training_set_that_has_changed_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "set", CLASSES, 10)
    recipe = Recipe().replace(arch="mlp", image_size=8, epochs=1, batch_size=8)
    run = fit(tmp_path / "set", recipe=recipe, run=tmp_path / "run", options=TrainOptions(device="cpu"))
    assert evaluate_source(run.folder)[1].images == 4
    (tmp_path / "set/a/more.png").write_bytes((tmp_path / "set/a/0.png").read_bytes())
    with pytest.raises(TenchError, match="has changed since the model was trained on it"):
        evaluate_source(run.folder)


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
    with pytest.raises(TenchError, match="nothing: has no images"):
        evaluate(Classifier(card.create_module(), card, "here"), table, where="nothing")


def test_metrics_as_json_are_the_promised_ones() -> None:
    found = Metrics(images=4, top1=0.5, top5=1.0, loss=0.25, per_class=((2, 1), (2, 1)))
    assert found.to_json() == {"images": 4, "top1": 0.5, "top5": 1.0, "loss": 0.25}


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
    name, metrics = evaluate_source(run.folder)
    assert name == f"{tmp_path}/one + {tmp_path}/two (val)"
    assert (metrics.images, metrics.per_class[1][0]) == (5, 2)  # of b, one of each source
    assert metrics.top1 == card.metrics["top1"]
    again = fit(sources, recipe=recipe, run=tmp_path / "run", options=OPTIONS)
    assert again.folder == run.folder


def test_rows_whose_logits_are_not_finite_are_listed() -> None:
    logits, labels = logits_and_labels(12, 7)
    logits[3, 2], logits[8] = np.nan, np.inf
    found = measure(Lookup(logits), batches(in_batches_of(5, 12), labels), 12, PLAIN)
    assert found.not_finite == (3, 8)
    finite = measure(Lookup(np.nan_to_num(logits)), batches(in_batches_of(5, 12), labels), 12, PLAIN)
    assert finite.not_finite == ()


def test_there_are_no_metrics_if_the_logits_of_an_image_are_not_finite(
    trained: Path,
) -> None:
    classifier = load(trained / "whole", "cpu")
    with torch.no_grad():
        next(classifier.module.parameters()).fill_(torch.nan)
    with pytest.raises(TenchError) as refused:
        evaluate_source(classifier)
    message = str(refused.value)
    assert message.startswith(f"{classifier.source}: no metrics, for ")
    assert f" images {NOT_FINITE}. The first is " in message
