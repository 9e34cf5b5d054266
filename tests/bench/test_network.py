import pytest
import torch

from tench.bench.network import gmacs_of, network, share
from tench.compat import import_torchvision
from tench.data.source import open_source
from tench.errors import UsageError
from tench.training.plan import resolve
from tench.training.recipe import Recipe
from tench.training.recipe_file import load_recipe

CPU = torch.device("cpu")


def test_a_network_is_measured_at_its_usual_size_unless_the_recipe_or_the_caller_has_one() -> None:
    assert network("resnet50", Recipe(), None, CPU).size == 224
    assert network("resnet20", Recipe(), None, CPU).size == 32
    assert network("resnet50", Recipe().replace(image_size=160), None, CPU).size == 160
    assert network("resnet50", Recipe().replace(image_size=160, eval_resize=256), 192, CPU).size == 192
    digits = network("resnet20", load_recipe("digits"), None, CPU)
    assert (digits.size, digits.recipe.input.channels, digits.num_classes) == (8, 1, 10)


def test_with_progressive_resizing_the_final_size_is_measured() -> None:
    growing = Recipe().replace(image_size=224, train_size=176, ramp_from=128, ramp_epochs=(0.0, 10.0), epochs=16)
    assert network("resnet18", growing, None, CPU).size == 176


@pytest.mark.parametrize("recipe", ["defaults", "finetune10", "mxnet-finetune"])
def test_auto_means_the_network_of_training_without_weights(recipe: str) -> None:
    asked = Recipe() if recipe == "defaults" else load_recipe(recipe)
    table = open_source("digits").splits["train"]
    assert network("auto", asked, 32, CPU).arch == resolve(asked, table, CPU).model.arch


def test_gmacs_are_those_of_the_training_images() -> None:
    weights = import_torchvision().models.get_model_weights("resnet50").DEFAULT
    assert gmacs_of(network("resnet50", Recipe(), None, CPU)) == pytest.approx(weights.meta["_ops"], abs=0.0006)
    assert gmacs_of(network("resnet50", Recipe(), 112, CPU)) == pytest.approx(weights.meta["_ops"] / 4, rel=0.1)


def test_the_share_counts_three_forward_passes_of_two_flops() -> None:
    assert share(4.089, 100, 5e12) == pytest.approx(100 * 6 * 4.089e9 / 5e12)


def test_no_value_of_the_recipe_is_auto() -> None:
    recipe = network("resnet50", Recipe(), None, CPU).recipe
    assert [name for name, value in recipe.leaves() if value == "auto"] == []


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="No network is called 'resnet5o'"):
        network("resnet5o", Recipe(), None, CPU)
    with pytest.raises(UsageError, match="alexnet does not accept images of 16 x 16 px"):
        gmacs_of(network("alexnet", Recipe(), 16, CPU))
    with pytest.raises(UsageError, match=r"training\.batch_size must be at least 1"):
        network("resnet18", Recipe().replace(batch_size=0), None, CPU)


def test_a_recipe_with_progressive_resizing_can_be_measured_at_another_size() -> None:
    grown = network("resnet18", load_recipe("ffcv-16"), 64, CPU)
    assert (grown.size, grown.recipe.input.image_size, grown.recipe.input.ramp_epochs) == (64, 64, (0.0, 0.0))
