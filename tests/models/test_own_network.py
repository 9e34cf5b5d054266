"""The user's own networks: the arguments they are called with, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.own import OwnModule
from torch import nn

from tench.errors import TenchError, UsageError
from tench.models import create
from tench.models.own_network import checked_network, create_own, is_own
from tench.models.source import ModelOptions
from tench.own_code import import_code

SIZE: dict[str, Any] = {"num_classes": 5, "image_size": 8, "channels": 1}


def needs_more(num_classes: int, width: int) -> nn.Module:
    return nn.Linear(width, num_classes)


def takes_nothing() -> nn.Module:
    return nn.Linear(1, 1)


def gives_a_number(num_classes: int) -> Any:
    return num_classes


def too_many(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes + 1))


def whole_numbers(num_classes: int) -> nn.Module:
    class Whole(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(images), num_classes, dtype=torch.int64)

    return Whole()


def two_answers_in_training(num_classes: int) -> nn.Module:
    class Auxiliary(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            logits = torch.zeros(len(images), num_classes)
            return (logits, logits) if self.training else logits

    return Auxiliary()


def nothing_to_train(num_classes: int) -> nn.Module:
    class Mean(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2, 3))[:, None].repeat(1, num_classes)

    return Mean()


class _Flat(nn.Module):
    """A linear layer over all pixels of an 8 x 8 grey image."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(images.flatten(1))


class Growing(_Flat):
    def forward(self, images: torch.Tensor) -> Any:
        if self.training:
            self.register_buffer("seen", images.mean())
        return super().forward(images)


class Forgetful(_Flat):
    def state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        return {}


class WithExtraState(_Flat):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}


class NotCopied(_Flat):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("there is only one")


class Leaving(_Flat):
    def forward(self, images: torch.Tensor) -> Any:
        raise SystemExit(0)


class OnlyInPairs(_Flat):
    """Fails for batch sizes other than the one that is tried out."""

    def forward(self, images: torch.Tensor) -> Any:
        if len(images) == 3:
            raise KeyError("three")
        return super().forward(images[:2])


def only_for_colour(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(num_classes))


def test_a_function_is_called_with_the_sizes_that_its_signature_names() -> None:
    called: list[dict[str, int]] = []

    def all_of_them(num_classes: int, image_size: int, channels: int) -> nn.Module:
        called.append({"num_classes": num_classes, "image_size": image_size, "channels": channels})
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    def anything(**sizes: int) -> nn.Module:
        called.append(sizes)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, sizes["num_classes"]))

    for function in (all_of_them, anything):
        assert create_own(function, **SIZE)(torch.zeros(3, 1, 8, 8)).shape == (3, 5)
    assert called == [SIZE, {"num_classes": 5}]


def test_a_class_is_a_function_too(own_module: OwnModule) -> None:
    network = create_own(import_code(f"{own_module.name}:Net"), **SIZE)
    assert type(network).__name__ == "Net"


def test_a_module_is_used_unchanged_and_its_mode_and_statistics_are_kept() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 5)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    generator = torch.get_rng_state()
    assert create_own(module, **SIZE) is module
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


NAME = "tests.models.test_own_network"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (takes_nothing, " has no parameter num_classes, but it is called with one. Add it."),
        (
            needs_more,
            " needs width, but is called only with num_classes, image_size and channels. Give its other parameters "
            "defaults.",
        ),
        (gives_a_number, " returned int, expected a torch.nn.Module."),
        (
            too_many,
            " returned shape (2, 6) in evaluation mode for images of shape (2, 1, 8, 8), expected logits of shape (2, "
            "5): one number for each class.",
        ),
        (
            two_answers_in_training,
            " returned tuple in training mode for images of shape (2, 1, 8, 8), expected logits of shape (2, 5): one "
            "number for each class.",
        ),
        (whole_numbers, " returned logits of type torch.int64, expected floating point."),
        (nothing_to_train, " has no parameters, so there is nothing to train."),
        (
            Growing,
            ": 'seen' appears in its state_dict() when it is trained, so its weights would not fit a new network. "
            "Register it in __init__.",
        ),
        (Forgetful, ": its state_dict() lacks the parameter 'head.weight', which would not be saved."),
        (WithExtraState, ": '_extra_state' in its state_dict() is dict, but only tensors are saved. Make it a buffer."),
    ],
)
def test_a_function_that_returns_no_suitable_network_is_refused(
    function: Callable[..., nn.Module], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        create_own(function, **SIZE)
    assert str(refused.value) == f"{function.__module__}:{function.__qualname__}{message}"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (NotCopied, "failed when copied by copy.deepcopy, as averaging and callbacks do: TypeError: there is only one"),
        (Leaving, "failed when called in evaluation mode with images of shape (2, 1, 8, 8): SystemExit: 0"),
    ],
)
def test_the_error_about_a_network_whose_code_fails_names_it(network: Callable[..., nn.Module], message: str) -> None:
    with pytest.raises(TenchError) as failed:
        create_own(network, **SIZE)
    assert str(failed.value).startswith(f"{NAME}:{network.__name__} {message} ({__file__}, line ")


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (3, "failed when called in evaluation mode with images of shape (3, 1, 8, 8): KeyError: 'three' ("),
        (
            4,
            "returned shape (2, 5) in evaluation mode for images of shape (4, 1, 8, 8), expected logits of shape (4, "
            "5): one number for each class.",
        ),
    ],
)
def test_a_checked_network_is_named_in_errors_for_every_batch(count: int, message: str) -> None:
    network = checked_network(create_own(OnlyInPairs, **SIZE), f"{NAME}:OnlyInPairs", 5).eval()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    with pytest.raises(TenchError) as failed:
        network(torch.zeros(count, 1, 8, 8))
    assert str(failed.value).startswith(f"{NAME}:OnlyInPairs {message}")


def test_a_built_in_network_is_not_wrapped() -> None:
    module = nn.Linear(2, 2)
    assert checked_network(module, "timm:resnet18", 2) is module


def test_the_error_about_a_network_that_fails_on_the_images_names_it() -> None:
    with pytest.raises(TenchError) as failed:
        create_own(only_for_colour, **SIZE)
    assert str(failed.value).startswith(
        f"{only_for_colour.__module__}:only_for_colour failed when called in evaluation mode with images of shape (2, "
        "1, 8, 8): RuntimeError: Given groups=1, weight of size [4, 3, 3, 3]"
    )


@pytest.mark.parametrize("options", [ModelOptions(dropout=0.1), ModelOptions(strides=(1, 1, 1, 2, 2))])
def test_options_of_built_in_networks_are_refused(options: ModelOptions) -> None:
    with pytest.raises(
        UsageError, match=r"too_many has no option (dropout|strides), which was set to .+\. Leave that option out\.$"
    ):
        create_own(too_many, options=options, **SIZE)


def test_a_blur_is_added_to_a_network_from_a_function_and_not_to_a_module() -> None:
    def strided(num_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2), nn.Conv2d(16, 16, 3, stride=2), nn.Flatten(), nn.Linear(16, 5)
        )

    with_blur = create_own(strided, options=ModelOptions(blurpool=True), **SIZE)
    assert with_blur.get_buffer("1.blur").shape == (16, 1, 3, 3)
    with pytest.raises(
        UsageError, match=r"object:Sequential is a module, which is used unchanged\. Leave out blurpool"
    ):
        create_own(strided(5), options=ModelOptions(blurpool=True), **SIZE)


@pytest.mark.parametrize(
    ("arch", "expected"),
    [("nets:small", True), ("object:Net", True), ("timm:resnet50", False), ("timm.models:resnet50", True)],
)
def test_the_prefix_of_a_known_system_is_not_a_module(arch: str, expected: bool) -> None:
    assert is_own(arch) == expected


def test_create_does_not_import_code() -> None:
    with pytest.raises(UsageError) as refused:
        create("os:system", num_classes=2, image_size=32)
    assert str(refused.value) == (
        "'os:system' names Python code. Only tench train -a and tench.fit(model=...) accept a network of your own. "
        "Known systems: apm5, edgeai, gluon, mxnet, nnabla, tench, timm, torchvision."
    )
