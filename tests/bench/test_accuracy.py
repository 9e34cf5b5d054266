import csv
from pathlib import Path

import pytest

from tench.bench.accuracy import FILE, accuracies
from tench.compat import import_torchvision
from tench.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_torchvisions_accuracies_match_the_installed_package_at_the_usual_size() -> None:
    found = {one.weights: one for one in accuracies("resnet50") if one.whose == "torchvision"}
    for weights in import_torchvision().models.get_model_weights("resnet50"):
        assert 100 * found[weights.name].top1 == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
    at_224 = {one.weights for one in accuracies("regnet_y_16gf")}
    assert "IMAGENET1K_SWAG_LINEAR_V1" in at_224
    assert "IMAGENET1K_SWAG_E2E_V1" not in at_224, "was measured at 384 px"


def test_weights_for_features_only_have_no_accuracy() -> None:
    assert {one.weights for one in accuracies("vgg16")} == {"IMAGENET1K_V1"}


def test_the_best_accuracy_comes_first_with_its_source() -> None:
    found = accuracies("mobilenet_v2")
    assert [one.top1 for one in found] == sorted((one.top1 for one in found), reverse=True)
    assert {one.whose for one in found} == {"torchvision", "TI"}


def test_every_number_in_the_file_has_its_source() -> None:
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 10
    for row in rows:
        assert all(row.values()), row
        assert 0 < float(row["top1_percent"]) < 100


def test_our_accuracies_match_those_that_the_benchmarks_measured() -> None:
    with FILE.open(newline="") as file:
        ours = [row for row in csv.DictReader(file) if row["whose"] == "tench"]
    assert ours
    for row in ours:
        measured = (ROOT / row["source"]).read_text(encoding="utf-8")
        recipe = row["weights"].removeprefix("recipe ")
        assert f"--recipe {recipe}`" in measured
        assert f"| {row['top1_percent']} % (" in measured


def test_most_networks_have_no_known_accuracy_and_an_unknown_network_is_refused() -> None:
    assert accuracies("resnet10t") == []
    with pytest.raises(UsageError, match="No network is called 'resnet5o'"):
        accuracies("resnet5o")
