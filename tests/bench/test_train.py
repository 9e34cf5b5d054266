import functools
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.bench.results import interrupted_after_a_row

from tench.bench import train
from tench.bench.measure import Rate
from tench.bench.network import Network
from tench.bench.peak import Peak
from tench.bench.step import Measured, Ready
from tench.bench.train import TrainRow, bench_train
from tench.errors import UsageError
from tench.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "peak", lambda precision, device: Peak(precision, 512, 1e9, 5e8))


def test_each_combination_is_a_row() -> None:
    found = bench_train(
        ["mlp", "resnet20"],
        batch_sizes=[2, 3],
        precisions=["fp32", "bf16"],
        memory_formats=["nchw", "nhwc"],
        image_size=8,
        device="cpu",
        seconds=0.01,
    )
    assert found.device == "cpu"
    assert [(row.arch, row.batch_size, row.precision, row.memory_format) for row in found.rows] == [
        (arch, batch, precision, order)
        for arch in ("mlp", "resnet20")
        for batch in (2, 3)
        for precision in ("fp32", "bf16")
        for order in ("nchw", "nhwc")
    ]
    for row in found.rows:
        assert isinstance(row.rate, Rate)
        assert row.rate.images % row.batch_size == 0
        assert row.share == pytest.approx(6 * row.gmacs * row.rate.median)
    assert [one.precision for one in found.peaks] == ["fp32", "bf16"]


def test_omitted_values_come_from_the_recipe() -> None:
    recipe = Recipe().replace(arch="mlp", batch_size=5, precision="fp32", memory_format="auto")
    (row,) = bench_train(recipe=recipe, device="cpu", seconds=0.01).rows
    assert (row.arch, row.image_size, row.batch_size, row.precision) == ("mlp", 28, 5, "fp32")
    assert row.memory_format == "nchw", "memory_format must be decided as in training"


def test_out_of_memory_is_a_row_and_earlier_rows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_turns(makers: Mapping[str, functools.partial[Ready]], *_: Any) -> dict[str, Measured]:
        def one(recipe: Recipe) -> Measured:
            big = recipe.training.batch_size > 100
            return Measured("out of memory") if big else Measured(Rate(10, 9, 11, 4, 5), 1000, "nchw")

        return {name: one(make.args[0]) for name, make in makers.items()}

    monkeypatch.setattr(train, "in_turns", in_turns)
    found = bench_train(["mlp"], batch_sizes=[4, 200, 8], precisions=["fp32"], device="cpu").to_json()
    assert [row["out_of_memory"] for row in found["rows"]] == [False, True, False]
    assert [row["images_per_second"] for row in found["rows"]] == [10, None, 10]
    assert [row["note"] for row in found["rows"]] == [None, "out of memory", None]
    assert {tuple(row) for row in found["rows"]} == {tuple(found["rows"][0])}, "all rows have the same keys"


def test_a_batch_size_that_a_network_cannot_be_trained_with_is_a_row_with_the_reason() -> None:
    recipe = Recipe().replace(precision="fp32")
    found = bench_train(["skresnet18"], batch_sizes=[1, 2], recipe=recipe, image_size=32, device="cpu", seconds=0.01)
    one, two = found.to_json()["rows"]
    assert (one["images_per_second"], one["share"], one["out_of_memory"]) == (None, None, False)
    assert one["note"].startswith(
        "skresnet18 cannot be trained with a batch of 1 (Expected more than 1 value per chann"
    )
    assert two["images_per_second"] > 0
    assert two["note"] is None


def test_ctrl_c_keeps_the_rows_measured_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[TrainRow] = []
    monkeypatch.setattr(
        train, "in_turns", interrupted_after_a_row(found, Measured(Rate(10, 9, 11, 4, 5), 1000, "nchw"))
    )
    with pytest.raises(KeyboardInterrupt):
        bench_train(["mlp"], batch_sizes=[2, 3, 4], device="cpu", found=found.append)
    assert [row.batch_size for row in found] == [2]


def test_each_network_has_one_dry_run_that_allocates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def gmacs_of(one: Network) -> float:
        tried.append(one.arch)
        return 1.0

    monkeypatch.setattr(train, "gmacs_of", gmacs_of)
    monkeypatch.setattr(train, "in_turns", lambda makers, *_: dict.fromkeys(makers, Measured("out of memory")))
    bench_train(["mlp", "lenet"], batch_sizes=[1, 2], precisions=["fp32", "bf16"], device="cpu")
    assert tried == ["mlp", "lenet"]


def test_ctrl_c_ends_the_benchmark_after_the_current_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def in_turns(makers: Any, seconds: float, done: Callable[[], None]) -> None:
        while True:
            passes.append(1)
            if len(passes) == 3:
                signal.raise_signal(signal.SIGINT)
            done()

    monkeypatch.setattr(train, "in_turns", in_turns)
    with pytest.raises(KeyboardInterrupt):
        bench_train(["mlp"], device="cpu")
    assert len(passes) == 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"archs": ["resnet5o"]}, "No network is called 'resnet5o'"),
        ({"archs": ["mlp", "alexnet"], "image_size": 8}, "alexnet does not accept images of 8 x 8 px"),
        ({"batch_sizes": [0]}, "training.batch_size must be at least 1"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"seconds": 0.0}, "seconds must be a finite number above 0, got 0"),
        ({"device": "gpu"}, "--device gpu"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_measured(
    asked: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "in_turns", lambda *_: pytest.fail("something was measured"))
    monkeypatch.setattr(train, "peak", lambda *_: pytest.fail("something was measured"))
    with pytest.raises(UsageError, match=message):
        bench_train(**{"archs": ["mlp"], "device": "cpu", **asked})
