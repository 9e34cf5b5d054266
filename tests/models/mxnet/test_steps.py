"""Tables of steps give the same output size as torch's own layers."""

import pytest
import torch
from torch import nn

from tench.models.mxnet.steps import Conv, Fork, Mean, Pool, Residual, Step, classifier, map_side, plain

TABLES: dict[str, dict[str, Step]] = {
    "strides and borders": {
        "a": Conv(4, 5, stride=3, padding=1),
        "b": Pool("max", 3, 2),
        "c": Conv(6, (1, 3), padding=(0, 1)),
    },
    "a mean that counts its border": {"a": Conv(4, 3), "b": Pool("avg", 8, padding=1)},
    "a fork": {
        "a": Fork(((Conv(3), Conv(2, 3, stride=2)), (Pool("max", 3, 2),))),
        "b": Conv(4, (1, 5), padding=(0, 2)),
    },
    "a residual with an uneven map inside": {
        "a": Conv(8, 3),
        "b": Residual((Conv(3, (1, 7), padding=(1, 2)), Conv(8, (7, 1), padding=(2, 1))), scale=0.5),
    },
    "a mean over all, and a layer that keeps the shape": {"a": nn.ReLU, "b": Conv(4, 2), "c": Mean()},
}


@pytest.mark.parametrize("name", TABLES)
def test_an_image_is_accepted_exactly_if_torchs_layers_accept_it(name: str) -> None:
    table, steps = TABLES[name], tuple(TABLES[name].values())
    body = nn.Sequential(*list(classifier(table, plain, num_classes=2, image_size=64, channels=3).children())[:-2])
    taken = []
    for size in range(1, 40):
        try:
            found = tuple(body(torch.zeros(1, 3, size, size)).shape[-2:])
        except RuntimeError:
            with pytest.raises(ValueError, match=r"need an image of at least \d+ px"):
                map_side(size, steps)
        else:
            taken.append(size)
            assert found == (map_side(size, steps),) * 2
    assert taken == list(range(taken[0], 40)), "every size above the smallest accepted one must be accepted"
    if taken[0] > 1:
        with pytest.raises(ValueError, match=f"at least {taken[0]} px"):
            map_side(1, steps)


def test_a_branch_and_a_residual_compute_their_formulas() -> None:
    torch.manual_seed(0)
    table: dict[str, Step] = {
        "fork": Fork(((Conv(2),), (Pool("avg", 3, padding=1),))),
        "residual": Residual((Conv(5, relu=False),), scale=0.25),
    }
    network = classifier(table, plain, num_classes=2, image_size=6, channels=3, hidden=(4,), dropout=0.5).eval()
    images = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        one, inner = network.get_submodule("fork.0.0"), network.get_submodule("residual.branch.0")
        both = torch.cat([one(images).relu(), nn.functional.avg_pool2d(images, 3, 1, 1)], dim=1)
        features = (both + 0.25 * inner(both)).relu().flatten(1)
        hidden = network.get_submodule("linear1")(features).relu()
        torch.testing.assert_close(network(images), network.get_submodule("head")(hidden))
    assert isinstance(network.get_submodule("dropout1"), nn.Dropout)


def test_without_hidden_layers_dropout_comes_before_the_last_layer() -> None:
    network = classifier({"a": Conv(4)}, plain, num_classes=2, image_size=6, channels=3, dropout=0.2)
    assert [name for name, _ in network.named_children()] == ["a", "flatten", "dropout", "head"]
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.2]
