"""The networks that a state dict may belong to, by the stored fingerprints."""

import random
from collections import OrderedDict

import pytest
import torch

from tench.models import create, find
from tench.models.fingerprints import all_archs, archs_like, fit_hint, nearest_archs, table_text
from tench.models.registry import source_of


@pytest.mark.parametrize("num_classes", [1000, 3])
def test_a_network_is_found_for_any_number_of_classes(num_classes: int) -> None:
    state = create("resnet18", num_classes=num_classes, image_size=224).state_dict()
    assert set(archs_like(state)) >= {"resnet18", "timm:resnet18", "edgeai:resnet18_x1"}
    assert "resnet34" not in archs_like(state)


def test_counters_do_not_matter() -> None:
    state = create("resnet18", num_classes=3, image_size=224).state_dict()
    without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert archs_like(without) == archs_like(state)


def test_other_names_are_found_by_the_shapes_in_order() -> None:
    state = create("efficientnet_b0", num_classes=3, image_size=224).state_dict()
    renamed = OrderedDict((f"my.{name}", one) for name, one in state.items())
    assert archs_like(renamed) == []
    assert {"efficientnet_b0", "timm:efficientnet_b0"} <= set(nearest_archs(renamed))
    assert fit_hint(renamed).startswith(" Its tensors have, in order, the shapes of ")


def test_an_unknown_network_has_no_hint() -> None:
    assert fit_hint({"layer.weight": torch.zeros(2, 3)}) == ""
    assert fit_hint({}) == ""


def test_the_stored_fingerprints_are_those_of_the_networks() -> None:
    """A sample; checking all networks takes minutes."""
    stored = [arch for arch in all_archs() if source_of(arch).NAME in ("torchvision", "edgeai")]
    sample = random.Random(0).sample(stored, 12)
    for line in table_text(sample).splitlines():
        _, _, *archs = line.split()
        state = create(archs[0], num_classes=7, image_size=224).state_dict()
        assert set(archs) <= set(archs_like(state))


def test_timms_networks_whose_name_is_taken_have_its_prefix() -> None:
    known = all_archs()
    assert {"resnet18", "timm:resnet18", "resnet18d"} <= set(known)
    assert set(known) <= {*find("*"), *(name for name in known if name.startswith("timm:"))}
