"""The names of networks, and the libraries that they belong to."""

import pytest
from tests.support.processes import run_python

from tench.compat import import_timm, import_torchvision
from tench.errors import UsageError
from tench.models import find
from tench.models.registry import source_of


def test_every_network_of_torchvision_is_found_by_its_name() -> None:
    models = import_torchvision().models
    names = models.list_models(module=models)
    assert len(names) >= 80
    assert {source_of(name).NAME for name in names} == {"torchvision"}
    assert set(names) <= set(find("*"))


def test_every_network_of_timm_is_found_once_and_torchvision_wins_a_shared_name() -> None:
    timm_names = set(import_timm().list_models())
    everything = find("*")
    assert timm_names <= set(everything)
    assert len(everything) == len(set(everything))
    assert "resnet50" in timm_names
    assert source_of("resnet50").NAME == "torchvision"
    assert source_of("resnet50d").NAME == "timm"


def test_a_name_with_a_tag_is_timms_network() -> None:
    assert source_of("resnet50.a1_in1k").NAME == "timm"
    with pytest.raises(UsageError, match=r"No network is called 'resnet50\.no_such_tag'"):
        source_of("resnet50.no_such_tag")


def test_our_own_networks_come_first() -> None:
    assert {source_of(name).NAME for name in ("mlp", "lenet", "resnet20", "resnet110", "resnet164_v2")} == {"tench"}


def test_an_unknown_name_is_refused_with_the_nearest_known_ones() -> None:
    with pytest.raises(UsageError) as refusal:
        source_of("rasnet50")
    text = str(refusal.value)
    assert text.startswith("No network is called 'rasnet50'. Did you mean ")
    assert "'resnet50'" in text
    assert text.endswith("? tench models PATTERN lists them. Write a network of your own as MODULE:FUNCTION.")


def test_the_error_about_a_name_unlike_any_other_gives_the_list_command() -> None:
    with pytest.raises(UsageError) as refusal:
        source_of("zzzzzzzzzz")
    assert str(refusal.value) == (
        "No network is called 'zzzzzzzzzz'. tench models PATTERN lists them. Write a network of your own as "
        "MODULE:FUNCTION."
    )


@pytest.mark.parametrize(
    ("arch", "remedy"),
    [("mynet.py", "mynet:FUNCTION"), ("./nets/mine.py:MyNet", "nets.mine:MyNet"), ("mine.py:net", "mine:net")],
)
def test_the_error_about_the_python_file_of_a_network_names_its_module(arch: str, remedy: str) -> None:
    with pytest.raises(UsageError) as refusal:
        source_of(arch)
    assert str(refusal.value) == (
        f"{arch!r} looks like a network of your own. Write it as MODULE:FUNCTION: -a {remedy}."
    )


def test_a_hub_address_is_not_a_network_name() -> None:
    with pytest.raises(UsageError, match="No network is called 'hf-hub:timm/resnet50'"):
        source_of("hf-hub:timm/resnet50")


def test_a_word_matches_the_names_that_contain_it_in_natural_order() -> None:
    found = find("resnet20")
    assert "ecaresnet200d" in found
    assert found.index("resnet20") < found.index("resnet20_v2") < found.index("resnet200")
    assert all("resnet20" in name for name in found)
    sizes = [name for name in find("resnet*") if name in ("resnet18", "resnet20", "resnet50", "resnet101", "resnet152")]
    assert sizes == ["resnet18", "resnet20", "resnet50", "resnet101", "resnet152"]


def test_a_shell_pattern_must_match_the_whole_name() -> None:
    assert find("resnet*_v2") == [f"resnet{depth}_v2" for depth in (20, 32, 44, 56, 110, 164)]
    assert find("VGG1[19]") == ["vgg11", "vgg19"]
    assert find("le?et") == ["lenet"]
    assert find("no network is called so") == []


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, tench.models; print(dir(tench.models) and 'torch' in sys.modules)"
    run = run_python(code)
    assert run.stdout == "False\n", run.stderr


def test_the_package_has_no_other_names() -> None:
    import tench.models

    with pytest.raises(AttributeError, match="has no attribute 'resnet50'"):
        tench.models.resnet50  # noqa: B018
