from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tench.compat import import_timm, import_torchvision
from tench.data.table import Classes
from tench.errors import TenchError
from tench.models import create
from tench.weights.known import Start
from tench.weights.transfer import head_layers, load_start

models: Any = import_torchvision().models
timm: Any = import_timm()

PETS = Classes.of(["cat", "dog", "eel"])


def start(network: nn.Module, classes: Classes | None = None, **known: Any) -> Start:
    return Start(state=network.state_dict(), source="w.pth", classes=classes, **known)


@pytest.fixture
def theirs() -> nn.Module:
    torch.manual_seed(1)
    network: nn.Module = models.resnet18(weights=None, num_classes=3)
    return network


def ours(num_classes: int, *, image_size: int = 96, channels: int = 3) -> nn.Module:
    torch.manual_seed(2)
    return create("resnet18", num_classes=num_classes, image_size=image_size, channels=channels)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network.eval()(images)
    return found


def assert_same_but(module: nn.Module, theirs: nn.Module, *but: str) -> None:
    expected = theirs.state_dict()
    for name, tensor in module.state_dict().items():
        assert (name in expected and torch.equal(tensor, expected[name])) == (name not in but), name


IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def test_the_same_classes_keep_the_head(theirs: nn.Module) -> None:
    module = ours(3)
    assert load_start(module, start(theirs, PETS), "resnet18", PETS) == [
        "Head (fc: 3 classes) kept: the classes are the same."
    ]
    torch.testing.assert_close(logits(module, IMAGES), logits(theirs, IMAGES), rtol=0, atol=0)


def test_display_names_do_not_determine_whether_classes_are_the_same(theirs: nn.Module) -> None:
    renamed = Classes.of(PETS.ids, ["Katze", "Hund", "Aal"])
    assert load_start(ours(3), start(theirs, renamed), "resnet18", PETS) == [
        "Head (fc: 3 classes) kept: the classes are the same."
    ]


def test_classes_in_a_different_order_keep_the_head_with_reordered_rows(theirs: nn.Module) -> None:
    module, order = ours(3), [2, 0, 1]
    classes = Classes.of([PETS.ids[index] for index in order])
    assert load_start(module, start(theirs, PETS), "resnet18", classes) == [
        "Head (fc: 3 classes) kept: the classes are the same in a different order, so its rows were reordered to "
        "match the data."
    ]
    torch.testing.assert_close(logits(module, IMAGES), logits(theirs, IMAGES)[:, order])


def test_other_classes_get_a_new_head_and_everything_else_is_loaded(theirs: nn.Module) -> None:
    module = ours(10)
    fresh = module.get_parameter("fc.weight").clone()
    assert load_start(module, start(theirs, PETS), "resnet18", Classes.numbered_to(10)) == [
        "Head (fc: 3 classes) reinitialised for 10 classes."
    ]
    assert torch.equal(module.get_parameter("fc.weight"), fresh)
    assert_same_but(module, theirs, "fc.weight", "fc.bias")


def test_different_classes_of_the_same_number_get_a_new_head(theirs: nn.Module) -> None:
    module = ours(3)
    assert load_start(module, start(theirs, PETS), "resnet18", Classes.of(["cat", "dog", "elk"])) == [
        "Head (fc: 3 classes) reinitialised for 3 other classes."
    ]
    assert_same_but(module, theirs, "fc.weight", "fc.bias")


def test_weights_without_class_names_keep_the_head_if_the_number_of_classes_matches(theirs: nn.Module) -> None:
    module = ours(3)
    assert load_start(module, start(theirs), "resnet18", PETS) == [
        "Head (fc: 3 classes) kept by position: w.pth does not name its classes, but their number equals the data's."
    ]
    assert_same_but(module, theirs)
    assert load_start(ours(2), start(theirs), "resnet18", Classes.of(["a", "b"])) == [
        "Head (fc: 3 classes) reinitialised for 2 classes."
    ]


@pytest.mark.parametrize(
    ("known", "classes", "which"),
    [
        (Classes.numbered_to(3), PETS, "one of them has"),
        (PETS, Classes.numbered_to(3), "one of them has"),
        (Classes.numbered_to(3), Classes.numbered_to(3), "both have"),
    ],
)
def test_if_classes_are_only_numbers_the_head_is_kept_by_position_and_a_note_says_so(
    theirs: nn.Module, known: Classes, classes: Classes, which: str
) -> None:
    module = ours(3)
    assert load_start(module, start(theirs, known), "resnet18", classes) == [
        f"Head (fc: 3 classes) kept by position, because {which} only numbers for the classes (w.pth and the data)."
    ]
    assert_same_but(module, theirs)


def test_weights_without_a_head_keep_the_new_head(theirs: nn.Module) -> None:
    weights = start(theirs)
    del weights.state["fc.weight"], weights.state["fc.bias"]
    module = ours(3)
    assert load_start(module, weights, "resnet18", PETS) == [
        "Head (fc) is initialised for 3 classes: w.pth has no head."
    ]
    assert_same_but(module, theirs, "fc.weight", "fc.bias")


def test_the_loaded_weights_are_not_modified(theirs: nn.Module) -> None:
    weights = start(theirs, PETS)
    load_start(ours(10, image_size=32, channels=1), weights, "resnet18", Classes.numbered_to(10))
    assert weights.state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(weights.state[name], tensor) for name, tensor in theirs.state_dict().items())


def test_both_heads_of_a_distilled_network_are_reordered() -> None:
    arch = "deit_tiny_distilled_patch16_224"
    distilled = timm.create_model(arch, num_classes=3, img_size=32)
    module = timm.create_model(arch, num_classes=3, img_size=32)
    notes = load_start(module, start(distilled, PETS), arch, Classes.of(["dog", "eel", "cat"]))
    assert notes[0].startswith("Head (head, head_dist: 3 classes) kept")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(logits(module, images), logits(distilled, images)[:, [1, 2, 0]])


@pytest.mark.parametrize(
    ("arch", "heads"),
    [
        ("resnet18", ["fc"]),
        ("squeezenet1_1", ["classifier.1"]),
        ("vgg11", ["classifier.6"]),
        ("mobilenet_v3_small", ["classifier.3"]),
        ("vit_b_16", ["heads.head"]),
        ("timm:vit_tiny_patch16_224", ["head"]),
        ("timm:convnext_atto", ["head.fc"]),
        ("timm:levit_128s", ["head.linear", "head_dist.linear"]),
        ("timm:volo_d1_224", ["aux_head", "head"]),
        ("timm:crossvit_9_240", ["head.0", "head.1"]),
        ("timm:repvit_m1", ["head.head.l", "head.head_dist.l"]),
    ],
)
def test_the_head_is_the_layer_whose_shape_depends_on_the_number_of_classes(arch: str, heads: list[str]) -> None:
    library, name = (timm.create_model, arch[5:]) if arch.startswith("timm:") else (models.get_model, arch)
    with torch.device("meta"):
        few, many = (library(name, num_classes=count) for count in (7, 11))
    more = many.state_dict()
    changed = {name for name, tensor in few.state_dict().items() if tensor.shape != more[name].shape}
    found = head_layers(few, 7)
    assert {f"{layer}.{kind}" for layer in found for kind in ("weight", "bias")} == changed
    assert found == heads


def test_a_hidden_layer_with_one_unit_per_class_is_not_mistaken_for_the_head() -> None:
    classes = Classes.numbered_to(64)  # the second layer of the mlp has 64 outputs
    theirs = create("mlp", num_classes=10, image_size=8, channels=1)
    module = create("mlp", num_classes=64, image_size=8, channels=1)
    last = list(module.state_dict())[-2:]
    notes = load_start(module, start(theirs), "mlp", classes)
    assert notes == [f"Head ({last[0].removesuffix('.weight')}: 10 classes) reinitialised for 64 classes."]
    assert_same_but(module, theirs, *last)


def test_only_the_last_layer_is_reordered_if_a_hidden_layer_has_one_unit_per_class() -> None:
    ids = [f"c{index:02}" for index in range(64)]
    order = np.random.default_rng(0).permutation(64)
    theirs, module = (create("mlp", num_classes=64, image_size=8, channels=1) for _ in range(2))
    notes = load_start(module, start(theirs, Classes.of(ids)), "mlp", Classes.of([ids[index] for index in order]))
    assert notes[0].startswith("Head (5: 64 classes) kept: the classes are the same in a different order")
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(logits(module, images), logits(theirs, images)[:, order])


def test_different_classes_of_the_same_number_keep_a_hidden_layer_of_that_width() -> None:
    known, classes = (Classes.of([f"{name}{index:02}" for index in range(64)]) for name in "ab")
    theirs, module = (create("mlp", num_classes=64, image_size=8, channels=1) for _ in range(2))
    nn.init.ones_(theirs.get_parameter("5.bias"))
    notes = load_start(module, start(theirs, known), "mlp", classes)
    assert notes == ["Head (5: 64 classes) reinitialised for 64 other classes."]
    assert_same_but(module, theirs, "5.weight", "5.bias")


@pytest.mark.parametrize(
    ("arch", "num_classes", "head"), [("vgg11", 4096, "classifier.6"), ("mobilenet_v3_small", 1024, "classifier.3")]
)
def test_hidden_layers_of_a_head_with_its_width_are_not_mistaken_for_heads(
    arch: str, num_classes: int, head: str
) -> None:
    with torch.device("meta"):
        assert head_layers(models.get_model(arch, num_classes=num_classes), num_classes) == [head]


def test_grey_images_get_the_sum_of_the_first_convolution_over_its_channels(theirs: nn.Module) -> None:
    module = ours(3, channels=1)
    notes = load_start(module, start(theirs, PETS), "resnet18", PETS)
    assert notes[1:] == ["First convolution (conv1): weights summed over the 3 channels, for grey images."]
    grey = IMAGES[:, :1]
    torch.testing.assert_close(logits(module, grey), logits(theirs, grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    by_timm = timm.models.adapt_input_conv(1, theirs.get_parameter("conv1.weight"))
    torch.testing.assert_close(module.get_parameter("conv1.weight"), by_timm)


def test_colour_images_spread_the_weights_of_one_channel_over_three(theirs: nn.Module) -> None:
    grey, module = ours(3, channels=1), ours(3)
    notes = load_start(module, start(grey, PETS), "resnet18", PETS)
    assert notes[1:] == ["First convolution (conv1): weights of 1 channel spread over 3, for colour images."]
    images = IMAGES[:, :1]
    torch.testing.assert_close(logits(module, images.expand(-1, 3, -1, -1)), logits(grey, images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stem_adapted_to_small_images_keeps_its_new_first_convolution(theirs: nn.Module, channels: int) -> None:
    module = ours(3, image_size=32, channels=channels)
    fresh = module.get_parameter("conv1.weight").clone()
    assert load_start(module, start(theirs, PETS), "resnet18", PETS)[1:] == [
        "First convolution (conv1) reinitialised: the stem is adapted to small images, with a 3x3 kernel instead of "
        "7x7. It is kept if the image size is larger than 80."
    ]
    assert torch.equal(module.get_parameter("conv1.weight"), fresh)
    assert_same_but(module, theirs, "conv1.weight")


def test_a_first_convolution_with_only_its_stride_adapted_is_kept() -> None:
    theirs = models.mobilenet_v3_small(weights=None, num_classes=3)
    module = create("mobilenet_v3_small", num_classes=3, image_size=32)
    notes = load_start(module, start(theirs, PETS), "mobilenet_v3_small", PETS)
    assert notes == ["Head (classifier.3: 3 classes) kept: the classes are the same."]
    assert_same_but(module, theirs)


def test_batch_counters_may_be_missing(theirs: nn.Module) -> None:
    weights = start(theirs, PETS)
    for name in [name for name in weights.state if name.endswith("num_batches_tracked")]:
        del weights.state[name]
    module = ours(3)
    load_start(module, weights, "resnet18", PETS)
    assert_same_but(module, theirs)


def test_weights_of_another_network_are_refused_with_its_name_and_nothing_is_loaded(theirs: nn.Module) -> None:
    module = create("resnet34", num_classes=3, image_size=96)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(TenchError) as refused:
        load_start(module, start(theirs, PETS, arch="resnet18"), "resnet34", PETS)
    missing = [name for name in before.keys() - theirs.state_dict().keys() if "num_batches_tracked" not in name]
    message = str(refused.value)
    assert message.startswith("w.pth: the weights do not fit resnet34: layer1.2.conv1.weight is missing, and ")
    assert f" and {len(missing) - 1} more differences" in message
    assert message.endswith(" differences. The weights belong to resnet18: add -a resnet18.")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_the_error_about_weights_of_an_unnamed_network_asks_for_its_name(theirs: nn.Module) -> None:
    module = create("resnet50", num_classes=3, image_size=96)
    with pytest.raises(
        TenchError, match=r"fit resnet50: .+\. Its tensors have the names and shapes of .*resnet18, .+ -a ARCH\."
    ):
        load_start(module, start(theirs, PETS), "resnet50", PETS)


def test_the_error_about_weights_of_timms_network_of_the_same_name_suggests_it() -> None:
    theirs = timm.create_model("efficientnet_b0", num_classes=3)
    module = create("efficientnet_b0", num_classes=3, image_size=96)
    with pytest.raises(
        TenchError, match=r"Its tensors have the names and shapes of .*timm:efficientnet_b0.*: -a ARCH\.$"
    ):
        load_start(module, start(theirs, PETS), "efficientnet_b0", PETS)


def test_the_error_about_weights_of_an_unknown_network_asks_for_its_name() -> None:
    weights = Start(state={"layer.weight": torch.zeros(3, 3)}, source="w.pth")
    module = create("timm:resnet18", num_classes=3, image_size=96)
    with pytest.raises(TenchError, match=r"Name the network that the weights belong to: -a ARCH\.$"):
        load_start(module, weights, "timm:resnet18", PETS)
    module = create("resnet18", num_classes=3, image_size=96)
    with pytest.raises(TenchError, match=r": -a ARCH, or timm's of the same name: -a timm:resnet18\.$"):
        load_start(module, weights, "resnet18", PETS)


def test_a_head_with_different_inputs_is_reported_as_a_difference() -> None:
    theirs, module = (models.squeezenet1_1(weights=None, num_classes=count) for count in (5, 3))
    weights = start(theirs)
    weights.state["classifier.1.weight"] = torch.zeros(5, 256, 1, 1)
    with pytest.raises(TenchError, match=r"classifier\.1\.weight has shape \(5, 256, 1, 1\) instead of \(3, 512, 1, 1"):
        load_start(module, weights, "squeezenet1_1", PETS)


@pytest.mark.parametrize(
    ("known", "remedy"),
    [
        ({"image_size": 64}, "add --image-size 64, the size they were trained with."),
        ({}, "add --image-size with the size they were trained with."),
    ],
)
def test_the_error_about_position_embeddings_of_another_size_names_it(known: dict[str, int], remedy: str) -> None:
    arch = "vit_tiny_patch16_224"
    theirs = timm.create_model(arch, num_classes=3, img_size=64)
    module = create(arch, num_classes=3, image_size=96)
    with pytest.raises(TenchError) as refused:
        load_start(module, start(theirs, PETS, **known), arch, PETS)
    assert str(refused.value) == (
        f"w.pth: the weights do not fit {arch}: pos_embed has shape (1, 17, 192) instead of (1, 37, 192). These "
        f"weights depend on the image size: {remedy}"
    )


def test_the_error_about_weights_for_small_images_asks_for_their_size() -> None:
    with pytest.raises(
        TenchError, match=r"\(64, 3, 3, 3\) instead of \(64, 3, 7, 7\)\..* add --image-size 32, the size"
    ):
        load_start(ours(3), start(ours(3, image_size=32), PETS, arch="resnet18", image_size=32), "resnet18", PETS)


def test_every_order_of_the_classes_gives_the_logits_of_the_same_classes() -> None:
    theirs = create("lenet", num_classes=3, image_size=28, channels=1)
    images = torch.randn(2, 1, 28, 28)
    for order in ([0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]):
        module = create("lenet", num_classes=3, image_size=28, channels=1)
        load_start(module, start(theirs, PETS), "lenet", Classes.of([PETS.ids[index] for index in order]))
        np.testing.assert_array_equal(logits(module, images), logits(theirs, images)[:, order])


def with_names_of_its_own(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network, in its order, with numbers for layers."""
    owners: dict[str, str] = {}
    found = {}
    for name, tensor in network.state_dict().items():
        owner, _, role = name.rpartition(".")
        found[f"layer{owners.setdefault(owner, str(len(owners)))}.{role}"] = tensor
    return found


def test_weights_with_names_of_their_own_are_matched_by_order_and_get_a_new_head(theirs: nn.Module) -> None:
    state = with_names_of_its_own(theirs)
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
    module = ours(5, channels=1)
    notes = load_start(module, Start(state=state, source="w.pth"), "resnet18", Classes.numbered_to(5))
    assert notes == [
        "w.pth: its parameter names are unknown, so its layers were matched to resnet18 by order and shape. Check the "
        "accuracy: tench evaluate, or tench weights --verify.",
        "Head (fc: 3 classes) reinitialised for 5 classes.",
        "First convolution (conv1): weights summed over the 3 channels, for grey images.",
    ]
    counters = [name for name in module.state_dict() if name.endswith("num_batches_tracked")]
    assert_same_but(module, theirs, "fc.weight", "fc.bias", "conv1.weight", *counters)


def test_weights_whose_order_does_not_fit_either_are_refused(theirs: nn.Module) -> None:
    state = with_names_of_its_own(theirs)
    with pytest.raises(TenchError, match=r"the weights do not fit resnet34: conv1\.weight is missing, and 3"):
        load_start(
            create("resnet34", num_classes=3, image_size=96), Start(state=state, source="w.pth"), "resnet34", PETS
        )
