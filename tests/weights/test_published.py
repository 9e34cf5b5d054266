from pathlib import Path
from typing import Any

import pytest
import torch
from tests.weights.hub import put_in_hub
from torch import nn

from tench.compat import import_timm, import_torchvision
from tench.data.formats.wordnet import imagenet
from tench.errors import TenchError, UsageError
from tench.models import create
from tench.weights.published import timm_weights, torchvision_weights

models: Any = import_torchvision().models
timm: Any = import_timm()


@pytest.mark.parametrize("name", ["resnet18", "resnet18.DEFAULT", "resnet18.IMAGENET1K_V1"])
def test_torchvisions_weights_come_from_its_cache_with_the_view_they_were_made_for(
    torch_cache: Path, name: str
) -> None:
    network = models.resnet18(weights=None)
    torch.save(network.state_dict(), torch_cache / "resnet18-f37072fd.pth")
    found = torchvision_weights(name)
    assert found.source == "torchvision:resnet18.IMAGENET1K_V1"
    assert (found.arch, found.num_classes, found.channels, found.channel_order) == ("resnet18", 1000, 3, "rgb")
    assert (found.image_size, found.eval_resize, found.interpolation) == (224, 256, "bilinear")
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert found.classes is not None
    assert found.classes.ids == imagenet()
    assert found.state.keys() == network.state_dict().keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in network.state_dict().items())


def test_the_default_weights_are_torchvisions_and_torchs_generator_is_restored(torch_cache: Path) -> None:
    network = models.mobilenet_v2(weights=None)
    torch.save(network.state_dict(), torch_cache / "mobilenet_v2-7ebf99e0.pth")
    before = torch.get_rng_state()
    found = torchvision_weights("mobilenet_v2")
    assert torch.equal(torch.get_rng_state(), before)
    assert found.source == "torchvision:mobilenet_v2.IMAGENET1K_V2"
    assert (found.image_size, found.eval_resize) == (224, 232)


def test_torchvisions_old_layer_names_are_converted_by_its_own_rule(torch_cache: Path) -> None:
    state = models.densenet121(weights=None).state_dict()
    assert "features.denseblock1.denselayer1.norm1.weight" in state
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(old, torch_cache / "densenet121-a639ec97.pth")
    assert torchvision_weights("densenet121").state.keys() == state.keys()


@pytest.mark.parametrize(
    ("arch", "file"),
    [("googlenet", "googlenet-1378be20.pth"), ("inception_v3", "inception_v3_google-0cc3c7bd.pth")],
)
def test_networks_that_rescale_their_input_have_no_auxiliary_heads_and_an_equivalent_mean(
    torch_cache: Path, arch: str, file: str
) -> None:
    theirs = models.get_model(arch, weights=None, init_weights=False, transform_input=True)
    torch.save(theirs.state_dict(), torch_cache / file)
    found = torchvision_weights(arch)
    module = models.get_model(arch, weights=None, init_weights=False, aux_logits=False)  # as `create` builds it
    module.load_state_dict(found.state)
    pixels = torch.rand(2, 3, 96, 96)
    view = models.get_model_weights(arch).DEFAULT.transforms()
    with torch.inference_mode():
        expected = theirs.eval()(_normalised(pixels, view.mean, view.std))
        found_logits = module.eval()(_normalised(pixels, found.mean, found.std))
    torch.testing.assert_close(found_logits, expected, rtol=1e-4, atol=1e-4)


def _normalised(pixels: torch.Tensor, mean: Any, std: Any) -> torch.Tensor:
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def test_the_classes_of_all_torchvision_weights_are_imagenets_in_id_order() -> None:
    lemmas = timm.data.ImageNetInfo().label_descriptions()
    differently_named = {"crane bird", "maillot tank suit"}  # torchvision distinguishes the two cranes and maillots
    for arch in models.list_models(module=models):
        for weights in models.get_model_weights(arch):
            if (categories := weights.meta["categories"]) is not None:
                pairs = zip(categories, lemmas, strict=True)
                other = {name for name, known in pairs if name not in [word.strip() for word in known.split(",")]}
                assert other == differently_named, weights


def test_every_resize_filter_of_torchvision_and_timm_is_supported() -> None:
    of_torchvision = {
        weights.transforms().interpolation.value
        for arch in models.list_models(module=models)
        for weights in models.get_model_weights(arch)
    }
    of_timm = {timm.get_pretrained_cfg(name).interpolation for name in timm.list_pretrained()}
    assert of_torchvision == of_timm == {"bilinear", "bicubic"}


def test_the_error_about_a_failed_torchvision_download_says_where_to_put_the_file(torch_cache: Path) -> None:
    with pytest.raises(TenchError) as refused:
        torchvision_weights("resnet18")
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    message = str(refused.value)
    assert message.startswith("torchvision:resnet18.IMAGENET1K_V1: the weights cannot be downloaded (<urlopen error ")
    assert message.endswith(
        f"). On a machine without a connection, download {url} elsewhere and put it at "
        f"{torch_cache / 'resnet18-f37072fd.pth'}, or pass the file: --weights FILE."
    )


def test_the_error_about_a_damaged_file_in_torchvisions_cache_names_it(torch_cache: Path) -> None:
    file = torch_cache / "resnet18-f37072fd.pth"
    file.write_bytes(b"half of it")
    with pytest.raises(TenchError) as refused:
        torchvision_weights("resnet18")
    message = str(refused.value)
    assert message.startswith(f"torchvision:resnet18.IMAGENET1K_V1: {file} cannot be read as weights (")
    assert message.endswith("). Remove it; the next attempt downloads it again.")


def test_a_file_in_torchvisions_cache_that_could_run_code_is_refused_before_torchvision_reads_it(
    torch_cache: Path,
) -> None:
    torch.save(nn.Linear(2, 2), torch_cache / "resnet18-f37072fd.pth")
    with pytest.raises(TenchError, match=r"cannot be read as weights \(Unsupported global: GLOBAL torch\.nn\.modules"):
        torchvision_weights("resnet18")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet19", r"torchvision has no network 'resnet19'\. Did you mean 'resnet18'"),
        ("resnet18.V3", r"torchvision has no weights 'V3' for resnet18\. It has IMAGENET1K_V1, DEFAULT\."),
        (
            "vgg16.IMAGENET1K_FEATURES",
            r"vgg16\.IMAGENET1K_FEATURES: these weights are not a whole classifier\.",
        ),
        ("fcn_resnet50", "torchvision has no network 'fcn_resnet50'"),
    ],
)
def test_the_error_about_a_name_unknown_to_torchvision_lists_known_names(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        torchvision_weights(name)


@pytest.mark.parametrize("name", ["resnet18", "resnet18.a1_in1k"])
def test_timms_weights_come_from_the_hubs_cache_with_the_view_they_were_made_for(hub_cache: Path, name: str) -> None:
    network = timm.create_model("resnet18")
    put_in_hub(hub_cache, "timm/resnet18.a1_in1k", network)
    before = torch.get_rng_state()
    found = timm_weights(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.source == "timm:resnet18.a1_in1k"
    assert (found.arch, found.num_classes, found.channels) == ("timm:resnet18", 1000, 3)
    assert (found.image_size, found.interpolation) == (224, "bicubic")
    transforms = timm.data.create_transform(
        **timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg("resnet18").to_dict(), model=network)
    ).transforms
    assert (found.image_size, found.eval_resize) == (transforms[1].size[0], transforms[0].size)
    assert found.mean == pytest.approx(transforms[3].mean.tolist())
    assert found.std == pytest.approx(transforms[3].std.tolist())
    assert found.classes is not None
    assert found.classes.ids == imagenet()
    create("timm:resnet18", num_classes=1000, image_size=224).load_state_dict(found.state)


def test_timms_larger_class_lists_have_wordnet_ids(hub_cache: Path) -> None:
    name = "mobilenetv3_large_100.miil_in21k"
    put_in_hub(hub_cache, f"timm/{name}", timm.create_model(name, num_classes=11221))
    found = timm_weights(name)
    assert found.arch == "mobilenetv3_large_100"
    assert found.num_classes == 11221
    assert found.classes is not None
    assert found.classes.ids == tuple(timm.data.ImageNetInfo("imagenet-21k-miil").label_names())


def test_timms_weights_without_a_head_have_no_classes(hub_cache: Path) -> None:
    name = "vit_small_patch16_224.dino"
    put_in_hub(hub_cache, f"timm/{name}", timm.create_model("vit_small_patch16_224", num_classes=0))
    found = timm_weights(name)
    assert (found.classes, found.num_classes) == (None, None)
    assert not any(name.startswith("head") for name in found.state)


def test_the_error_about_timm_weights_that_cannot_be_loaded_says_where_to_fetch_them(hub_cache: Path) -> None:
    with pytest.raises(TenchError) as refused:
        timm_weights("resnet18")
    message = str(refused.value)
    assert message.startswith("timm:resnet18.a1_in1k: timm cannot load the weights (")
    assert message.endswith(
        "). On a machine without a connection, download https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/"
        "model.safetensors elsewhere and pass the file: --weights FILE -a timm:resnet18."
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet19", r"timm has no network 'resnet19'\. Did you mean 'resnet1"),
        ("resnet18.b1", r"timm has no weights resnet18\.b1\. It has resnet18\.a1_in1k, "),
        ("resnet20t", "timm has no network 'resnet20t'"),
        ("vit_tiny_patch16_18", "timm has no network"),
    ],
)
def test_the_error_about_a_name_unknown_to_timm_lists_known_names(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        timm_weights(name)
