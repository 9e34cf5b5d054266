"""Folders of Hugging Face's transformers. `make interop` reads those that transformers itself writes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.support.errors import error_of
from torch import Tensor, nn

from tench.compat import import_timm, import_torchvision
from tench.input.views import IMAGENET_MEAN
from tench.weights.load import load
from tench.weights.start import starting_weights

models: Any = import_torchvision().models
timm: Any = import_timm()

Write = Callable[..., Path]
RESNET18 = {
    "architectures": ["ResNetForImageClassification"],
    "layer_type": "basic",
    "depths": [2, 2, 2, 2],
    "hidden_sizes": [64, 128, 256, 512],
    "num_channels": 3,
    "transformers_version": "5.24.0",
}
VIT = {
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 192,
    "num_hidden_layers": 12,
    "num_attention_heads": 3,
    "intermediate_size": 768,
    "image_size": 224,
    "layer_norm_eps": 1e-6,
}


def as_transformers_holds_it(resnet: Any) -> dict[str, Tensor]:
    """The weights of torchvision's ResNet-18 in the modules that transformers has."""

    def layer(convolution: nn.Module, normalization: nn.Module) -> nn.ModuleDict:
        return nn.ModuleDict({"convolution": convolution, "normalization": normalization})

    def block(one: Any) -> nn.ModuleDict:
        parts: dict[str, nn.Module] = {} if one.downsample is None else {"shortcut": layer(*one.downsample)}
        parts["layer"] = nn.ModuleList([layer(one.conv1, one.bn1), layer(one.conv2, one.bn2)])
        return nn.ModuleDict(parts)

    stages = [
        nn.ModuleDict({"layers": nn.ModuleList([block(one) for one in stage])})
        for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    ]
    body = nn.ModuleDict(
        {
            "embedder": nn.ModuleDict({"embedder": layer(resnet.conv1, resnet.bn1)}),
            "encoder": nn.ModuleDict({"stages": nn.ModuleList(stages)}),
        }
    )
    whole = nn.ModuleDict({"resnet": body, "classifier": nn.Sequential(nn.Flatten(), resnet.fc)})
    return dict(whole.state_dict())


def as_transformers_names_it(vit: Any) -> dict[str, Tensor]:
    """The weights of timm's ViT in the linear layers that transformers has."""
    found = {
        "vit.embeddings.cls_token": vit.cls_token,
        "vit.embeddings.position_embeddings": vit.pos_embed,
        "vit.embeddings.patch_embeddings.projection.weight": vit.patch_embed.proj.weight,
        "vit.embeddings.patch_embeddings.projection.bias": vit.patch_embed.proj.bias,
    }
    for number, block in enumerate(vit.blocks):
        parts = dict(zip(("query", "key", "value"), block.attn.qkv.weight.chunk(3), strict=True))
        biases = dict(zip(("query", "key", "value"), block.attn.qkv.bias.chunk(3), strict=True))
        name = f"vit.encoder.layer.{number}"
        for part in parts:
            found[f"{name}.attention.attention.{part}.weight"] = parts[part]
            found[f"{name}.attention.attention.{part}.bias"] = biases[part]
        layers = {
            "attention.output.dense": block.attn.proj,
            "intermediate.dense": block.mlp.fc1,
            "output.dense": block.mlp.fc2,
            "layernorm_before": block.norm1,
            "layernorm_after": block.norm2,
        }
        for part, layer in layers.items():
            found |= {f"{name}.{part}.{role}": tensor for role, tensor in layer.state_dict().items()}
    for part, layer in (("vit.layernorm", vit.norm), ("classifier", vit.head)):
        found |= {f"{part}.{role}": tensor for role, tensor in layer.state_dict().items()}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = models.resnet18(weights=None, num_classes=3).eval()
    return network


@pytest.fixture
def folder(tmp_path: Path, resnet: nn.Module) -> Write:
    """A function that writes a folder with the weights of `resnet`, unless it is given others."""

    def write(
        config: dict[str, Any] = RESNET18,
        preprocessor: dict[str, Any] | None = None,
        state: dict[str, Tensor] | None = None,
        file: str = "model.safetensors",
    ) -> Path:
        state = as_transformers_holds_it(resnet) if state is None else state
        if file.endswith(".safetensors"):
            save_file(state, tmp_path / file)
        else:
            torch.save(state, tmp_path / file)
        (tmp_path / "config.json").write_text(json.dumps(config))
        if preprocessor is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
        return tmp_path

    return write


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_resnet_becomes_torchvisions_with_the_same_logits(folder: Write, resnet: nn.Module, file: str) -> None:
    place = folder(file=file)
    images = torch.randn(2, 3, 64, 64)
    for path in (place, place / file):
        found = load(path)
        assert found.card.arch == "resnet18"
        with torch.inference_mode():
            assert torch.equal(found.module(images), resnet(images))


def test_a_vit_becomes_timms_with_the_same_logits(folder: Write) -> None:
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=5).eval()
    found = load(folder(VIT, state=as_transformers_names_it(vit)))
    images = torch.randn(2, 3, 224, 224)
    assert (found.card.arch, found.card.mean) == ("vit_tiny_patch16_224", (0.5, 0.5, 0.5))
    with torch.inference_mode():
        assert torch.equal(found.module(images), vit(images))


def test_the_constant_of_its_layer_norms_is_kept(folder: Write) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=5)
    found = load(folder(VIT | {"layer_norm_eps": 1e-12}, state=as_transformers_names_it(vit)))
    assert {layer.eps for layer in found.module.modules() if isinstance(layer, nn.LayerNorm)} == {1e-12}


def test_the_classes_are_those_of_id2label_unless_they_are_only_numbers(folder: Write) -> None:
    labels = {"0": "ant", "1": "bee", "2": "cat"}
    assert load(folder(RESNET18 | {"id2label": labels})).classes.ids == ("ant", "bee", "cat")
    numbers = {str(index): f"LABEL_{index}" for index in range(3)}
    assert load(folder(RESNET18 | {"id2label": numbers})).classes.numbered
    cranes = load(folder(RESNET18 | {"id2label": {"0": "crane", "1": "crane", "2": "cat"}})).classes
    assert (cranes.ids, cranes.names) == (("0", "1", "2"), ("crane", "crane", "cat"))


PLAIN = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 2}
CONVNEXT = PLAIN | {"resample": 3, "crop_pct": 0.875}
NAMED = PLAIN | {"resample": 3, "image_processor_type": "ConvNextImageProcessor"}


@pytest.mark.parametrize(
    ("preprocessor", "expected"),
    [
        # side, resize, squash, interpolation
        (CONVNEXT | {"size": {"shortest_edge": 224}}, (224, 256, False, "bicubic")),
        (CONVNEXT | {"size": 224}, (224, 256, False, "bicubic")),
        (CONVNEXT | {"size": {"shortest_edge": 384}}, (384, 384, True, "bicubic")),
        (CONVNEXT | {"size": 224, "do_center_crop": True, "crop_size": 160}, (160, 256, False, "bicubic")),
        (NAMED | {"size": {"shortest_edge": 224}}, (224, 256, False, "bicubic")),
        (PLAIN | {"size": {"height": 160, "width": 160}}, (160, 160, True, "bilinear")),
        (PLAIN | {"size": 160}, (160, 160, True, "bilinear")),
        (
            PLAIN
            | {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
            (224, 256, False, "bilinear"),
        ),
    ],
)
def test_the_preprocessing_is_that_of_the_image_processor(
    folder: Write, preprocessor: dict[str, Any], expected: tuple[int, int, bool, str]
) -> None:
    card = load(folder(preprocessor=preprocessor)).card
    assert (card.image_size, card.eval_resize, card.squash, card.interpolation) == expected


def test_mean_and_std_follow_from_the_scale_of_the_pixels(folder: Write) -> None:
    card = load(folder(preprocessor=CONVNEXT | {"size": 224})).card
    assert (card.mean, card.std) == ((0.5,) * 3, (0.25,) * 3)
    card = load(folder(preprocessor=CONVNEXT | {"size": 224, "rescale_factor": 1 / 127.5})).card
    assert card.mean == pytest.approx((0.25,) * 3)
    assert card.std == pytest.approx((0.125,) * 3)
    card = load(folder(preprocessor=CONVNEXT | {"size": 224, "do_normalize": False})).card
    assert (card.mean, card.std) == ((0.0,) * 3, (1.0,) * 3)


def test_without_a_preprocessor_it_is_the_usual_one(folder: Write) -> None:
    card = load(folder()).card
    assert (card.image_size, card.eval_resize, card.mean) == (224, 256, IMAGENET_MEAN)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"architectures": ["BertModel"]},
            "describes BertModel, which tench cannot read. Supported transformers models: ResNetFor",
        ),
        ({"depths": [1, 1, 1, 1]}, "a basic ResNet with depths [1, 1, 1, 1] and hidden_sizes [64, 128, 256, 512] is "),
        ({"downsample_in_bottleneck": True}, "downsample_in_bottleneck is True. Only False is supported."),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'. Only 'relu' is supported."),
        ({"depths": "many"}, "config.json: depths is 'many', but should be"),
        ({"id2label": {"0": "ant", "7": "bee"}}, "id2label has no entry '1', but the model has 3 classes."),
    ],
)
def test_unsupported_models_are_refused(folder: Write, config: dict[str, Any], message: str) -> None:
    text = error_of(load)(folder(RESNET18 | config))
    assert message in text
    assert "config.json" in text


@pytest.mark.parametrize(
    ("preprocessor", "message"),
    [
        ({"do_resize": False}, "do_resize is False. Only True is supported."),
        ({"resample": 1}, "resample is 1. Only 2 (bilinear) and 3 (bicubic) are supported."),
        ({"size": {"height": 200, "width": 300}}, "do not give a square part of the image"),
        ({"size": {"shortest_edge": 256}}, "do not give a square part of the image"),
        ({"size": 224, "do_center_crop": True, "crop_size": 300}, "do not give a square part of the image"),
        ({"size": 224, "do_center_crop": True}, "do not give a square part of the image"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order cannot be represented, so the images would be "),
        ({"rescale_offset": True}, "rescale_offset cannot be represented"),
        ({"do_pad": True}, "do_pad cannot be represented"),
        ({"image_mean": None}, "has no image_mean, whose default depends on the image processor. Add it."),
        ({"do_normalize": None, "resample": None}, "has no resample, whose default depends on"),
        ({"rescale_factor": 0}, "rescale_factor must be above 0, got 0."),
        ({"crop_pct": 0}, "crop_pct is 0, but should be at most 1 and at least 0.01."),
        ({"image_std": [0, 0, 0]}, "the preprocessing cannot be used: std is [0.0, 0.0, 0.0], but should be"),
        ({"image_mean": [0.5]}, "the preprocessing cannot be used: mean is [0.5], but should be 3 numbers"),
    ],
)
def test_unsupported_preprocessing_is_refused(folder: Write, preprocessor: dict[str, Any], message: str) -> None:
    assert message in error_of(load)(folder(preprocessor=PLAIN | {"size": 224} | preprocessor))


def test_values_that_are_null_or_false_change_nothing(folder: Write) -> None:
    given = {"size": 224, "do_pad": False, "do_flip_channel_order": None, "rescale_offset": False}
    assert load(folder(preprocessor=PLAIN | given)).card.image_size == 224


def test_a_small_image_size_does_not_change_the_stem(folder: Write, resnet: nn.Module) -> None:
    """tench fits the stems of its own networks to small images; transformers does not."""
    found = load(folder(preprocessor=CONVNEXT | {"size": {"shortest_edge": 64}}))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(found.module(images), resnet(images))


def test_the_named_file_is_read_even_if_another_one_is_preferred(folder: Write) -> None:
    place = folder()
    state = torch.load(folder(file="pytorch_model.bin") / "pytorch_model.bin", weights_only=True)
    state["classifier.1.bias"] += 100
    torch.save(state, place / "pytorch_model.bin")
    assert float(load(place / "pytorch_model.bin").module.state_dict()["fc.bias"].min()) > 50
    assert float(load(place).module.state_dict()["fc.bias"].max()) < 50


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_channels": 10**10}, "num_channels is 10000000000. Only 1 and 3 are supported."),
        ({"id2label": {"0": "a\udcff", "1": "b", "2": "c"}}, "contains unprintable characters."),
        ({"id2label": {"0": "a\n## b", "1": "b", "2": "c"}}, "contains unprintable characters."),
    ],
)
def test_hostile_values_are_refused(folder: Write, config: dict[str, Any], message: str) -> None:
    assert message in error_of(load)(folder(RESNET18 | config))


def test_a_classifier_without_rows_is_refused(folder: Write, resnet: nn.Module) -> None:
    for weight in (torch.zeros(()), torch.zeros(0, 512)):
        state = as_transformers_holds_it(resnet) | {"classifier.1.weight": weight}
        assert "has no classifier weights (fc.weight)" in error_of(load)(folder(state=state))


def test_weights_in_several_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(RESNET18))
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert error_of(load)(tmp_path).startswith(f"{tmp_path} has config.json, but neither model.safetensors nor ")


def test_a_file_without_its_config_is_read_with_arch(folder: Write, resnet: nn.Module) -> None:
    place = folder()
    (place / "config.json").unlink()
    found = load(place / "model.safetensors", arch="resnet18").module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in resnet.state_dict().items())


def test_arch_is_refused_for_a_folder_that_names_its_network(folder: Write) -> None:
    text = error_of(starting_weights)(str(folder()), "resnet18")
    assert text.endswith("these weights come with their network. Leave --arch out.")
