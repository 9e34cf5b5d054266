from typing import Any

import pytest
from tests.bench.results import interrupted_after_a_row

from tench.bench import models
from tench.bench.measure import Rate
from tench.bench.models import ModelRow, bench_models, networks
from tench.bench.step import Measured
from tench.errors import UsageError
from tench.models import ModelInfo, describe, find


def test_each_network_is_measured_with_each_batch_size() -> None:
    rows = bench_models(["mlp", "lenet"], batch_sizes=[1, 2], precision="fp32", device="cpu", seconds=0.01)
    assert [(row.info.name, row.batch_size) for row in rows] == [("mlp", 1), ("mlp", 2), ("lenet", 1), ("lenet", 2)]
    for row in rows:
        assert row.info == describe(row.info.name)
        assert isinstance(row.forward, Rate)
        assert isinstance(row.training, Rate)
        assert row.forward.images % row.batch_size == row.training.images % row.batch_size == 0
        assert row.accuracies[0].whose == "tench"
        assert row.precision == "fp32"


@pytest.mark.parametrize(
    ("arch", "conv_gmacs", "gmacs", "parameters"),
    [("resnet50", 4.087, 4.089, 25.557), ("mobilenet_v2", 0.2995, 0.3008, 3.505)],
)
def test_the_columns_of_edgeailite_are_reproduced(
    arch: str, conv_gmacs: float, gmacs: float, parameters: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = Measured(Rate(10, 9, 11, 1, 5), None, "nhwc")
    monkeypatch.setattr(models, "in_turns", lambda makers, *_: dict.fromkeys(makers, rate))
    (row,) = (row.to_json() for row in bench_models([arch], batch_sizes=[1], device="cpu"))
    assert row["conv_gmacs"] == pytest.approx(conv_gmacs, abs=0.0005)
    assert row["gmacs"] == pytest.approx(gmacs, abs=0.0005)
    assert row["parameters"] / 1e6 == pytest.approx(parameters, abs=0.0005)


def test_out_of_memory_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Measured(Rate(10, 9, 11, 1, 5), 1000, "nhwc")
    monkeypatch.setattr(models, "in_turns", lambda *_: {"forward": rate, "training": Measured("out of memory")})
    (row,) = (row.to_json() for row in bench_models(["mlp"], batch_sizes=[1], device="cpu"))
    assert (row["forward_images_per_second"], row["images_per_second"], row["memory_bytes"]) == (10, None, None)
    assert (row["forward_note"], row["note"]) == (None, "out of memory")


def test_a_network_that_cannot_be_trained_with_a_batch_size_has_its_forward_rate_and_the_reason() -> None:
    rows = bench_models(["skresnet18"], batch_sizes=[1, 2], precision="fp32", device="cpu", seconds=0.01)
    one, two = (row.to_json() for row in rows)
    assert (one["images_per_second"], one["memory_bytes"], one["forward_note"]) == (None, None, None)
    assert one["note"].startswith(
        "skresnet18 cannot be trained with a batch of 1 (Expected more than 1 value per chann"
    )
    assert one["forward_images_per_second"] > 0
    assert two["images_per_second"] > 0
    assert two["note"] is None


def test_ctrl_c_keeps_the_rows_measured_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[ModelRow] = []
    monkeypatch.setattr(models, "in_turns", interrupted_after_a_row(found, Measured("out of memory")))
    with pytest.raises(KeyboardInterrupt):
        bench_models(["mlp", "lenet"], batch_sizes=[1, 2], device="cpu", found=found.append)
    assert [(row.info.name, row.batch_size) for row in found] == [("mlp", 1)]


def test_each_network_has_one_dry_run_when_its_turn_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    info = describe("mlp")

    def tried(arch: str) -> ModelInfo:
        seen.append(f"try {arch}")
        return info

    monkeypatch.setattr(models, "describe", tried)
    monkeypatch.setattr(models, "in_turns", lambda makers, *_: dict.fromkeys(makers, Measured("out of memory")))
    bench_models(["mlp", "lenet"], batch_sizes=[1, 2], device="cpu", found=lambda row: seen.append("row"))
    assert seen == ["try mlp", "row", "row", "try lenet", "row", "row"]


def test_a_name_is_one_network_and_a_pattern_all_that_match() -> None:
    assert networks(["resnet50"]) == ["resnet50"]
    assert networks(["vgg1?", "resnet50", "vgg11"]) == [*find("vgg1?"), "resnet50"]
    with pytest.raises(UsageError, match=r"'nothing\*' matches no network"):
        networks(["nothing*"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"patterns": ["mlp", "resnet5o"]}, "No network is called 'resnet5o'"),
        ({"batch_sizes": [1, 0]}, "training.batch_size must be at least 1"),
        ({"seconds": -1.0}, "seconds must be a finite number above 0, got -1"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_measured(
    asked: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "in_turns", lambda *_: pytest.fail("something was measured"))
    with pytest.raises(UsageError, match=message):
        bench_models(**{"patterns": ["mlp"], "device": "cpu", **asked})
