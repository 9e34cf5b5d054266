from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score
from torch import nn

from tench.data.source import open_source
from tench.evaluation.measure import ScoringRule, evaluation_order, measure
from tench.input.loader import Batch
from tench.weights.own import Normalise

CPU = torch.device("cpu")
PLAIN = Normalise((0.0,), (1.0,), CPU)


class Lookup(nn.Module):
    """A network that returns rows of a table of logits. The first pixel of an image is the row."""

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


@pytest.mark.parametrize("batch_size", range(1, 24))
def test_metrics_match_scikit_learns_for_any_batch_size(batch_size: int) -> None:
    count, num_classes = 23, 7
    logits, labels = logits_and_labels(count, num_classes)
    found = measure(Lookup(logits), batches(in_batches_of(batch_size, count), labels), count, PLAIN)
    every = np.arange(num_classes)
    shifted = np.exp(logits.astype(np.float64))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    assert found.images == count
    assert found.to_json() == {"images": count, "top1": found.top1, "top5": found.top5, "loss": found.loss}
    assert found.top1 == top_k_accuracy_score(labels, logits, k=1, labels=every)
    assert found.top5 == top_k_accuracy_score(labels, logits, k=5, labels=every)
    assert found.loss == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-5)
    confusion = confusion_matrix(labels, logits.argmax(axis=1), labels=every)
    assert found.per_class == tuple(zip(confusion.sum(axis=1), confusion.diagonal(), strict=True))


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_with_five_classes_or_fewer_top_5_is_always_correct(num_classes: int) -> None:
    logits, labels = logits_and_labels(12, num_classes)
    assert measure(Lookup(logits), batches(in_batches_of(5, 12), labels), 12, PLAIN).top5 == 1.0


def test_a_class_without_images_is_counted_as_none() -> None:
    logits, labels = logits_and_labels(12, 6)
    found = measure(Lookup(logits), batches(in_batches_of(4, 12), labels % 5), 12, PLAIN)
    assert len(found.per_class) == 6
    assert found.per_class[5] == (0, 0)


def test_with_a_class_subset_the_model_only_chooses_among_its_classes() -> None:
    logits, labels = logits_and_labels(40, 9)
    among = [1, 2, 3, 5, 7, 8]
    labels = np.array(among)[labels % len(among)]
    rule = ScoringRule(among=tuple(among))
    found = measure(Lookup(logits), batches(in_batches_of(7, 40), labels), 40, PLAIN, rule)
    theirs = np.searchsorted(among, labels)
    part = logits[:, among].astype(np.float64)
    probabilities = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
    assert found.top1 == top_k_accuracy_score(theirs, part, k=1, labels=range(6))
    assert found.top5 == top_k_accuracy_score(theirs, part, k=5, labels=range(6))
    assert found.loss == pytest.approx(log_loss(theirs, probabilities, labels=range(6)), rel=1e-5)
    assert found.top1 > measure(Lookup(logits), batches(in_batches_of(7, 40), labels), 40, PLAIN).top1


def test_any_of_several_accepted_classes_is_correct() -> None:
    logits, labels = logits_and_labels(30, 12)
    sets = [[int(label), (3 * row) % 12, (5 * row) % 12][: 1 + row % 3] for row, label in enumerate(labels)]
    found = measure(Lookup(logits), batches(in_batches_of(4, 30), labels), 30, PLAIN, ScoringRule(accepted=sets))
    ranked = np.argsort(-logits, axis=1)
    assert found.top1 == np.mean([ranked[row, 0] in sets[row] for row in range(30)])
    assert found.top5 == np.mean([bool({*ranked[row, :5]} & {*sets[row]}) for row in range(30)])


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
def test_counting_an_image_twice_or_not_at_all_fails(rows: list[list[int]], counted: str) -> None:
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
def test_the_evaluation_order_has_each_row_once(batch_size: int) -> None:
    table = open_source("synthetic:images=7,size=8,val=0,format=pixels").splits["train"]
    order = evaluation_order(table, batch_size)
    assert [row for step in range(order.steps_per_epoch) for row in order.rows(0, step)] == list(range(7))


def test_rows_whose_logits_are_not_finite_are_listed() -> None:
    logits, labels = logits_and_labels(12, 7)
    logits[3, 2], logits[8] = np.nan, np.inf
    found = measure(Lookup(logits), batches(in_batches_of(5, 12), labels), 12, PLAIN)
    assert found.not_finite == (3, 8)
    finite = measure(Lookup(np.nan_to_num(logits)), batches(in_batches_of(5, 12), labels), 12, PLAIN)
    assert finite.not_finite == ()


@pytest.mark.parametrize("batch_size", [1, 4, 23])
def test_the_answers_of_each_image_are_kept_in_the_order_of_rows(batch_size: int) -> None:
    count, num_classes = 23, 7
    logits, labels = logits_and_labels(count, num_classes)
    order = np.random.default_rng(0).permutation(count)
    parts = [order[part].tolist() for part in in_batches_of(batch_size, count)]
    answers = measure(Lookup(logits), batches(parts, labels), count, PLAIN).answers
    assert answers is not None
    probabilities = torch.from_numpy(logits.astype(np.float64)).softmax(dim=1).numpy()
    best = np.argsort(-logits, axis=1)[:, :5]
    np.testing.assert_array_equal(answers.labels, labels)
    np.testing.assert_array_equal(answers.predicted, best)
    np.testing.assert_allclose(answers.probabilities, np.take_along_axis(probabilities, best, axis=1), rtol=1e-5)
    np.testing.assert_allclose(answers.losses, -np.log(probabilities[np.arange(count), labels]), rtol=1e-4, atol=1e-6)
    kinds = [array.dtype.name for array in (answers.labels, answers.predicted, answers.probabilities, answers.losses)]
    assert kinds == ["int32", "int32", "float32", "float32"]
