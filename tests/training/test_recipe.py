import ast
import collections
import inspect
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tench.data import options
from tench.errors import UsageError
from tench.training import recipe as recipe_module
from tench.training.duration import Duration
from tench.training.recipe import Recipe
from tench.training.recipe_check import validate
from tench.training.recipe_file import (
    as_recipe,
    checked,
    from_plain,
    load_recipe,
    packaged_recipes,
    with_sizes_in_proportion,
)

SECTIONS = ["source", "model", "input", "augment", "mix", "optimizer", "schedule", "average", "training"]
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of this type can have, in or out of range."""
    if hint is float:
        return FINITE
    if typing.get_origin(hint) is Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        arguments = typing.get_args(hint)
        if arguments[-1] is Ellipsis:
            return st.lists(values_of(arguments[0]), max_size=4).map(tuple)
        return st.tuples(*map(values_of, arguments))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.one_of([values_of(option) for option in typing.get_args(hint)])
    return st.from_type(hint)


def types_of_values() -> Iterator[tuple[str, Any]]:
    for section in typing.get_type_hints(Recipe).values():
        yield from typing.get_type_hints(section).items()


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@given(st.fixed_dictionaries({}, optional={name: values_of(hint) for name, hint in types_of_values()}))
def test_any_recipe_survives_a_round_trip_through_yaml(values: dict[str, Any]) -> None:
    recipe = Recipe().replace(**values)
    assert from_plain(yaml.safe_load(recipe.to_yaml()), "here") == recipe


def test_the_yaml_contains_every_value_in_field_order() -> None:
    plain = yaml.safe_load(Recipe().to_yaml())
    assert list(plain) == SECTIONS
    paths = [f"{section}.{name}" for section, values in plain.items() for name in values]
    assert paths == [path for path, _ in Recipe().leaves()]
    assert plain["optimizer"]["lr"] == 0.1
    assert plain["input"]["scale"] == [0.08, 1.0]


def test_omitted_values_are_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "training: {epochs: 7}\n")) == Recipe().replace(epochs=7)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_recipe(written(tmp_path, text)) == Recipe()


def test_packaged_recipes_exist() -> None:
    assert {"digits", "cifar-resnet"} <= set(packaged_recipes())


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_has_exactly_the_values_of_its_file(name: str) -> None:
    path = Path(recipe_module.__file__).parent / "recipes" / f"{name}.yaml"
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    like = plain.pop("like", None)
    loaded = dict(load_recipe(name).leaves())
    stated = {f"{section}.{key}" for section, values in plain.items() for key in values}
    below = dict((load_recipe(like) if like else Recipe()).leaves())
    assert {name: value for name, value in loaded.items() if name not in stated} == {
        name: value for name, value in below.items() if name not in stated
    }
    for section, values in plain.items():
        for key, value in values.items():
            assert loaded[f"{section}.{key}"] == (tuple(value) if isinstance(value, list) else value)
    assert path.read_text(encoding="utf-8").startswith("# ")  # tench recipes shows this line


def test_no_two_sections_have_a_value_of_the_same_name() -> None:
    names = [path.split(".")[1] for path, _ in Recipe().leaves()]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []


def test_every_field_has_a_docstring() -> None:
    modules = [ast.parse(inspect.getsource(module)) for module in (options, recipe_module)]
    classes = [node for module in modules for node in module.body if isinstance(node, ast.ClassDef)]
    kinds = {kind.__name__ for kind in typing.get_type_hints(Recipe).values()}
    sections = [node for node in classes if node.name in kinds]
    assert len(sections) == len(SECTIONS)
    for section in sections:
        fields = [index for index, node in enumerate(section.body) if isinstance(node, ast.AnnAssign)]
        assert fields
        for index in fields:
            after = section.body[index + 1] if index + 1 < len(section.body) else None
            explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            assert explained, f"{section.name}: {ast.unparse(section.body[index])}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "optimiser: {lr: 1.0}",
            "unknown section 'optimiser'. Did you mean 'optimizer'? "
            "Known: source, model, input, augment, mix, optimizer, schedule, average, training.",
        ),
        (
            "model: {architecture: resnet18}",
            "unknown key 'architecture' in model. Known: arch, weights, init, ",
        ),
        (
            "training: {epoch: 3}",
            "unknown key 'epoch' in training. Did you mean 'epochs'? Known: epochs, batch_size, validate_every, ",
        ),
        ("optimizer: {3: 4}", "unknown key 3 in optimizer. Known: optimizer, lr, momentum,"),
        ("optimizer:", "optimizer must contain keys and values, got None."),
        (
            "[optimizer]",
            "expected the sections source, model, input, augment, mix, optimizer, schedule, average, training, "
            "found ['optimizer'].",
        ),
        ("[]", f"expected the sections {', '.join(SECTIONS)}, found []."),
        ("0", f"expected the sections {', '.join(SECTIONS)}, found 0."),
        ("source: {label: 3}", "source.label is 3, but should be text or null."),
        ("source: {exclude: [3]}", "source.exclude is [3], but should be a list of texts."),
        ("training: {batch_size: 1.5}", "training.batch_size is 1.5, but should be a whole number."),
        ("training: {epochs: true}", "training.epochs is True, but should be a whole number or a number."),
        ("training: {batch_size: '3'}", "training.batch_size is '3', but should be a whole number."),
        ("training: {precision: half}", "training.precision is 'half', but should be auto or fp32 or bf16 or fp16."),
        ("optimizer: {lr: fast}", "optimizer.lr is 'fast', but should be a number."),
        ("optimizer: {lr: true}", "optimizer.lr is True, but should be a number."),
        ("optimizer: {lr: null}", "optimizer.lr is None, but should be a number."),
        ("optimizer: {nesterov: 1}", "optimizer.nesterov is 1, but should be true or false."),
        ("model: {arch: 18}", "model.arch is 18, but should be text."),
        ("schedule: {warmup: 5}", "schedule.warmup is 5, but should be text."),
        ("input: {image_size: big}", "input.image_size is 'big', but should be a whole number or auto."),
        ("input: {channels: 2}", "input.channels is 2, but should be 1 or 3 or auto."),
        ("input: {channels: 1.0}", "input.channels is 1.0, but should be 1 or 3 or auto."),
        ("input: {scale: [0.1]}", "input.scale is [0.1], but should be a list of 2 numbers."),
        ("input: {scale: 0.1}", "input.scale is 0.1, but should be a list of 2 numbers."),
        ("input: {mean: 0.5}", "input.mean is 0.5, but should be a list of numbers or auto."),
        ("input: {mean: [0.5, x, 0.5]}", "input.mean is [0.5, 'x', 0.5], but should be a list of numbers or auto."),
        ("model: {strides: [1, 1]}", "model.strides is [1, 1], but should be a list of 5 whole numbers or own."),
        (
            "model: {strides: [1, 1, 1, 2, 1.5]}",
            "model.strides is [1, 1, 1, 2, 1.5], but should be a list of 5 whole numbers or own.",
        ),
        ("like: nothing", "like must name a packaged recipe, got 'nothing'. Known: airbench94, "),
        ("like: step9", "like must name a packaged recipe, got 'step9'. Did you mean 'step90'"),
        (
            "like: [digits]",
            "like must name a packaged recipe, got ['digits']. Did you mean 'digits'? Known: airbench94, ",
        ),
        ("{like: digits, training: {epoch: 3}}", "unknown key 'epoch' in training."),
    ],
)
def test_an_invalid_recipe_is_refused_with_the_key_and_the_valid_values(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("text", ["training: {epochs: 3", "a: b: c", b"\xff\xfe\xff"])
def test_a_file_that_is_not_yaml_is_named(tmp_path: Path, text: str | bytes) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path} is not YAML: ")
    assert not any("\n" in line for line in refused.value.args)  # each argument is printed as one line


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("5E-5", 5e-5), ("2", 2.0), ("0.1", 0.1)])
def test_a_number_in_any_notation_is_a_float(tmp_path: Path, text: str, value: float) -> None:
    found = load_recipe(written(tmp_path, f"optimizer: {{weight_decay: {text}}}")).optimizer.weight_decay
    assert found == value
    assert isinstance(found, float)


OUT_OF_RANGE: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 0}, "training.epochs must be above 0 and at most 1,000,000, got 0."),
    ({"batch_size": 0}, "training.batch_size must be at least 1 and at most 1,000,000,000,000, got 0."),
    ({"label_smoothing": 1.0}, "training.label_smoothing must be at least 0 and below 1, got 1.0."),
    ({"label_smoothing": -0.1}, "training.label_smoothing must be at least 0 and below 1, got -0.1."),
    ({"seed": -1}, "training.seed must be at least 0 and at most 9,223,372,036,854,775,807, got -1."),
    ({"lr": 0.0}, "optimizer.lr must be above 0, got 0.0."),
    ({"lr": math.inf}, "optimizer.lr must be finite, got inf."),
    ({"lr": math.nan}, "optimizer.lr must be finite, got nan."),
    ({"momentum": 1.0}, "optimizer.momentum must be at least 0 and below 1, got 1.0."),
    ({"momentum": 0.0, "nesterov": True}, "optimizer.momentum must be above 0 with nesterov, got 0.0."),
    ({"weight_decay": -0.0001}, "optimizer.weight_decay must be at least 0, got -0.0001."),
    ({"clip_norm": -1.0}, "optimizer.clip_norm must be at least 0, got -1.0."),
    ({"gamma": 0.0}, "schedule.gamma must be above 0 and at most 1, got 0.0."),
    ({"gamma": 1.5}, "schedule.gamma must be above 0 and at most 1, got 1.5."),
    ({"power": 0.0}, "schedule.power must be above 0, got 0.0."),
    ({"warmup_from": 1.1}, "schedule.warmup_from must be at least 0 and at most 1, got 1.1."),
    ({"lr": 0.1, "final_lr": 0.2}, "schedule.final_lr must be at most lr (0.1), got 0.2."),
    ({"image_size": 0}, "input.image_size must be at least 1 and at most 16,384, or auto, got 0."),
    ({"pad": -1}, "input.pad must be at least 0 and at most 16,384, or auto, got -1."),
    ({"train_size": 0}, "input.train_size must be at least 1 and at most 16,384, or auto, got 0."),
    ({"ramp_from": 0}, "input.ramp_from must be at least 1 and at most 16,384, or auto, got 0."),
    ({"ramp_from": 200, "train_size": 192}, "input.ramp_from must be at most train_size (192), got 200."),
    (
        {"ramp_epochs": (3.0, 2.0)},
        "input.ramp_epochs must be 2 numbers, each at least 0 and at most 1,000,000, in ascending order, got "
        "(3.0, 2.0).",
    ),
    ({"ramp_multiple": 0}, "input.ramp_multiple must be at least 1 and at most 1,000,000, got 0."),
    ({"pad_fill": 256}, "input.pad_fill must be at least 0 and at most 255, or reflect, got 256."),
    ({"channel_order": "bgr", "channels": 1}, "input.channel_order must be rgb with one channel, got 'bgr'."),
    (
        {"train_view": "mxnet", "mxnet_parameters": "inter_method=5"},
        "input.mxnet_parameters: MXNet's augmentation: inter_method must be one of 0, 1, 2, 3, 4, 9, 10.",
    ),
    (
        {"train_view": "mxnet", "mxnet_level": "2", "channels": 1},
        "input.mxnet_level is 2, which changes colours, but the input is grey. Use a level without colour changes "
        '("1", "cifar10"), or set them to 0 in mxnet_parameters.',
    ),
    ({"repeats": 0}, "input.repeats must be at least 1 and at most 1,000,000, got 0."),
    ({"flip": 1.5}, "input.flip must be at least 0 and at most 1, got 1.5."),
    (
        {"scale": (0.5, 0.2)},
        "input.scale must be 2 numbers, each above 0 and at most 1, in ascending order, got (0.5, 0.2).",
    ),
    (
        {"scale": (0.5, 1.2)},
        "input.scale must be 2 numbers, each above 0 and at most 1, in ascending order, got (0.5, 1.2).",
    ),
    ({"ratio": (0.0, 1.0)}, "input.ratio must be 2 numbers, each above 0, in ascending order, got (0.0, 1.0)."),
    ({"ratio": (1.0, math.inf)}, "input.ratio must be finite, got (1.0, inf)."),
    ({"val_fraction": 1.0}, "input.val_fraction must be above 0 and below 1, got 1.0."),
    (
        {"mean": (0.5, 0.5)},
        "input.mean must be 1 or 3 numbers, each at least -1,000,000 and at most 1,000,000, or auto, got (0.5, 0.5).",
    ),
    (
        {"mean": (), "std": ()},
        "input.mean must be 1 or 3 numbers, each at least -1,000,000 and at most 1,000,000, or auto, got ().",
    ),
    (
        {"std": (0.0,)},
        "input.std must be 1 or 3 numbers, each at least 1e-06 and at most 1,000,000, or auto, got (0.0,).",
    ),
    ({"dropout": 1.0}, "model.dropout must be at least 0 and below 1, or own, got 1.0."),
    ({"drop_path": -0.1}, "model.drop_path must be at least 0 and below 1, or own, got -0.1."),
    (
        {"strides": (1, 1, 1, 2, 3)},
        "model.strides must be 5 numbers, each at least 1 and at most 2, or own, got (1, 1, 1, 2, 3).",
    ),
    (
        {"short_side": (256, 256)},
        "input.short_side must be 2 numbers, each at least 1 and at most 16,384, in strictly ascending order,"
        " got (256, 256).",
    ),
    ({"stretch": (0.0, 1.0)}, "input.stretch must be 2 numbers, each above 0, in ascending order, got (0.0, 1.0)."),
    ({"lr_inside": True, "optimizer": "lamb"}, "optimizer.lr_inside must be false unless optimizer is sgd, got True."),
    ({"betas": (0.9, 1.0)}, "optimizer.betas must be 2 numbers, each at least 0 and below 1, got (0.9, 1.0)."),
    ({"alpha": 1.0}, "optimizer.alpha must be at least 0 and below 1, got 1.0."),
    ({"eps": -1.0}, "optimizer.eps must be at least 0, or auto, got -1.0."),
    ({"trust": 0.0}, "optimizer.trust must be above 0, got 0.0."),
    ({"other_lr": 0.0}, "optimizer.other_lr must be above 0, got 0.0."),
    ({"head_lr": 0.0}, "optimizer.head_lr must be above 0, got 0.0."),
    ({"norm_bias_lr": 0.0}, "optimizer.norm_bias_lr must be above 0, got 0.0."),
    ({"warmup_least": 2.0}, "schedule.warmup_least must be at least 0 and at most 1, got 2.0."),
    (
        {"milestones": (60.0, 30.0)},
        "schedule.milestones must be numbers, each at least 0 and at most 1,000,000, in strictly ascending "
        "order, got (60.0, 30.0).",
    ),
    (
        {"milestones": (30.0, 30.0)},
        "schedule.milestones must be numbers, each at least 0 and at most 1,000,000, in strictly ascending "
        "order, got (30.0, 30.0).",
    ),
    ({"average_decay": 1.0}, "average.average_decay must be at least 0 and below 1, or auto, got 1.0."),
    ({"average_every": 0}, "average.average_every must be at least 1 and at most 1,000,000, or auto, got 0."),
    ({"accumulate": 0}, "training.accumulate must be at least 1 and at most 1,000,000, got 0."),
    ({"accumulate": 9, "batch_size": 8}, "training.accumulate must be at most batch_size, got 9."),
    ({"bce_threshold": 0.2}, "training.bce_threshold must be 0 unless loss is bce, got 0.2."),
    ({"norm_bias_lr": 64.0, "optimizer": "muon"}, "optimizer.norm_bias_lr must be 1 with muon, got 64.0."),
    (
        {"decay": "not-norms", "optimizer": "muon"},
        "optimizer.decay must be left out with muon, which has its own rule, got 'not-norms'.",
    ),
    (
        {"betas": (0.0, 0.999), "optimizer": "lamb"},
        "optimizer.betas must be 2 numbers, each above 0, with lamb, got (0.0, 0.999).",
    ),
    (
        {"ramp_from": 160, "train_size": 192},
        "input.ramp_epochs must be the epochs of the ramp if ramp_from is given, got (0.0, 0.0).",
    ),
    ({"ramp_epochs": (1.0, 3.0)}, "input.ramp_from must be a size if ramp_epochs are given, got 'auto'."),
    ({"flip_form": "alternate", "train_view": "mxnet"}, "input.flip_form must be random with mxnet, got 'alternate'."),
    (
        {"compile": "on", "recompute": True},
        "training.compile must be auto or off with recompute, which cannot be compiled, got 'on'.",
    ),
    ({"bce_threshold": 1.0}, "training.bce_threshold must be at least 0 and below 1, got 1.0."),
    ({"hold": "110 %"}, 'schedule.hold must be a duration such as "5 epochs", "500 steps" or "10 %", got \'110 %\'.'),
    (
        {"freeze_from": "soon"},
        'optimizer.freeze_from must be a duration such as "5 epochs", "500 steps" or "10 %", got \'soon\'.',
    ),
    (
        {"image_size": 32, "eval_resize": 31},
        "input.eval_resize must be at least image_size (32) and below twice that, or auto, got 31.",
    ),
    (
        {"color_jitter": (0.4, -0.1, 0.0, 0.0)},
        "augment.color_jitter must be 4 numbers, at least 0, the last at least 0 and at most 0.5, got (0.4, "
        "-0.1, 0.0, 0.0).",
    ),
    (
        {"color_jitter": (0.4, 0.4, 0.4, 0.6)},
        "augment.color_jitter must be 4 numbers, at least 0, the last at least 0 and at most 0.5, got (0.4, "
        "0.4, 0.4, 0.6).",
    ),
    ({"lighting": -0.1}, "augment.lighting must be at least 0, got -0.1."),
    ({"cutout": -1}, "augment.cutout must be at least 0 and at most 16,384, got -1."),
    (
        {"policy": "randaugment"},
        "augment.policy is randaugment: unknown augmentation policy. Known: none, "
        "randaugment-N-M, trivialaugment-wide, autoaugment-imagenet, autoaugment-cifar10, autoaugment-svhn, "
        "rand-mM-nN-mstdS-inc1, or package.module:function.",
    ),
    ({"mixup": -0.1}, "mix.mixup must be at least 0, got -0.1."),
    ({"mixup": 0.2, "batch_size": 1}, "mix.mixup must be 0 with a batch_size of 1, got 0.2."),
    ({"cutmix": 1.0, "batch_size": 1}, "mix.cutmix must be 0 with a batch_size of 1, got 1.0."),
    ({"mix_prob": 1.1}, "mix.mix_prob must be at least 0 and at most 1, got 1.1."),
    ({"mix_switch": -1.0}, "mix.mix_switch must be at least 0 and at most 1, got -1.0."),
    ({"mix_mode": "pair"}, "mix.mix_mode must be batch unless mix_form is timm, got 'pair'."),
    ({"erasing": 2.0}, "mix.erasing must be at least 0 and at most 1, got 2.0."),
    (
        {"erasing_area": (0.0, 0.3)},
        "mix.erasing_area must be 2 numbers, each above 0 and at most 1, in ascending order, got (0.0, 0.3).",
    ),
    (
        {"erasing_ratio": (2.0, 1.0)},
        "mix.erasing_ratio must be 2 numbers, each above 0, in ascending order, got (2.0, 1.0).",
    ),
    ({"erasing_count": 0}, "mix.erasing_count must be at least 1 and at most 100, got 0."),
    (
        {"step_every": "0 epochs"},
        'schedule.step_every must be a duration above 0 such as "5 epochs", "500 steps" or "10 %", got \'0 epochs\'.',
    ),
    ({"warmup": "5"}, 'schedule.warmup must be a duration such as "5 epochs", "500 steps" or "10 %", got \'5\'.'),
    (
        {"seed": 2**63},
        "training.seed must be at least 0 and at most 9,223,372,036,854,775,807, got 9223372036854775808.",
    ),
    (
        {"batch_size": 10**20},
        "training.batch_size must be at least 1 and at most 1,000,000,000,000, got 100000000000000000000.",
    ),
    ({"epochs": 1e300}, "training.epochs must be above 0 and at most 1,000,000, got 1e+300."),
    ({"image_size": 16385}, "input.image_size must be at least 1 and at most 16,384, or auto, got 16385."),
    (
        {"milestones": (1.0, 1e300)},
        "schedule.milestones must be numbers, each at least 0 and at most 1,000,000, in strictly ascending "
        "order, got (1.0, 1e+300).",
    ),
    (
        {"strides": (0, 1, 1, 1, 1)},
        "model.strides must be 5 numbers, each at least 1 and at most 2, or own, got (0, 1, 1, 1, 1).",
    ),
    (
        {"std": (0.5, 0.5)},
        "input.std must be 1 or 3 numbers, each at least 1e-06 and at most 1,000,000, or auto, got (0.5, 0.5).",
    ),
    (
        {"ramp_epochs": (-1.0, 2.0)},
        "input.ramp_epochs must be 2 numbers, each at least 0 and at most 1,000,000, in ascending order, got "
        "(-1.0, 2.0).",
    ),
    (
        {"train_size": 300, "train_view": "resize-crop"},
        "input.short_side must be 2 numbers, each at least train_size (300), with resize-crop, got (256, 480).",
    ),
    (
        {"test_time": "ten-crop", "image_size": 32, "eval_resize": 32},
        "input.eval_resize must be above image_size (32) for ten crops, got 32.",
    ),
]


@pytest.mark.parametrize(("values", "message"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_with_the_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        validate(Recipe().replace(**values), "mine")
    assert str(refused.value) == f"mine: {message}"


def test_a_file_with_a_value_out_of_range_is_refused_on_loading(tmp_path: Path) -> None:
    path = written(tmp_path, "training: {epochs: 0}")
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value) == f"{path}: training.epochs must be above 0 and at most 1,000,000, got 0."


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("5 epochs", 50),
        ("1 epoch", 10),
        ("0.5 epochs", 5),
        ("500 steps", 500),
        ("1 step", 1),
        (" 2  epochs ", 20),
        ("0 epochs", 0),
        ("23 %", 16),  # 16.1 of 70 steps
        ("100%", 70),
        ("1e300 steps", 10**9),
    ],
)
def test_a_duration_is_converted_to_steps(text: str, steps: int) -> None:
    assert Duration.parse(text, "warmup").steps(steps_per_epoch=10, total_steps=70) == steps


@pytest.mark.parametrize(
    "text", ["", "5", "epochs", "5 minutes", "-1 epochs", "five epochs", "nan steps", "inf epochs", "101 %"]
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Duration.parse(text, "mine: schedule.warmup")
    expected = f'mine: schedule.warmup: expected a duration such as "5 epochs", "500 steps" or "10 %", found {text!r}.'
    assert str(refused.value) == expected


def test_the_error_for_an_unknown_recipe_lists_the_nearest_and_all() -> None:
    with pytest.raises(UsageError) as refused:
        load_recipe("digit")
    assert str(refused.value) == (
        f"digit: no such recipe or file. Did you mean 'digits'? Packaged recipes: {', '.join(packaged_recipes())}."
    )


def test_replace_finds_a_value_in_its_section() -> None:
    recipe = Recipe().replace(epochs=3, lr=0.2, schedule="step")
    changed = {name: value for name, value in recipe.leaves() if value != dict(Recipe().leaves())[name]}
    assert changed == {"training.epochs": 3, "optimizer.lr": 0.2, "schedule.schedule": "step"}


def test_replace_refuses_an_unknown_name_with_the_nearest() -> None:
    with pytest.raises(UsageError) as refused:
        Recipe().replace(epoch=3)
    assert str(refused.value) == "'epoch': no such recipe value. Did you mean 'epochs' or 'ramp_epochs'?"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": "adam"}, "recipe: optimizer.optimizer is 'adam', but should be sgd or lamb or "),
        ({"precision": "fp8"}, "recipe: training.precision is 'fp8', but should be "),
        ({"lr": 0.0}, "recipe: optimizer.lr must be above 0, got 0.0."),
    ],
)
def test_a_recipe_made_in_python_is_checked_like_a_file(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked(Recipe().replace(**values))
    assert str(refused.value).startswith(message)


def test_checking_a_valid_recipe_does_not_change_it() -> None:
    for name in packaged_recipes():
        assert checked(load_recipe(name)) == load_recipe(name)


def alias_bomb(merge: bool) -> str:
    """Nine levels, each of which repeats the previous one nine times."""
    lines = ["- &a {x: 1}" if merge else "- &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        repeated = ", ".join([f"*{before}"] * 9)
        lines.append(f"- &{name} {{<<: [{repeated}]}}" if merge else f"- &{name} [{repeated}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (alias_bomb(False), "its aliases (*name) expand to more than 10,000 values"),
        (alias_bomb(True), "its aliases (*name) expand to more than 10,000 values"),
        ("&a [*a]", "its aliases (*name) expand to more than 10,000 values"),
        ("&a {training: *a}", "its aliases (*name) expand to more than 10,000 values"),
        ("[" * 20_000, "nested too deeply"),
        ("{a: " * 20_000, "nested too deeply"),
        ("training: {epochs: 2001-99-99}", "month must be in 1..12"),
        ("training: {epochs: " + "9" * 5000 + "}", "Exceeds the limit"),
        ("*" + "a" * 100_000, "found undefined alias"),
    ],
)
def test_a_recipe_that_expands_to_too_many_values_is_refused_with_a_short_message(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path} is not YAML: {reason}")
    assert len(str(refused.value)) < 1000


def test_a_recipe_with_a_few_aliases_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "input: {mean: &grey [0.5, 0.5, 0.5], std: *grey}")
    assert load_recipe(path).input.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("text", ["{}: {{a: 1}}", "training: {{{}: 1}}", "training: {{epochs: {}}}", "like: {}", "{}"])
def test_an_error_in_a_recipe_is_short_whatever_the_recipe_contains(tmp_path: Path, text: str) -> None:
    for long in ("a" * 10_000, "[" + "x, " * 900 + "x]"):
        if text.startswith("{}:") and long.startswith("["):
            continue
        with pytest.raises(UsageError) as refused:
            load_recipe(written(tmp_path, text.format(long)))
        assert len(str(refused.value)) < 1500


def test_a_recipe_of_many_megabytes_or_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(UsageError, match="has 2,000,000 bytes, but a recipe has at most 1,048,576"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("word", "compiled", "nesterov"),
    [("on", "on", True), ("off", "off", False), ("'on'", "on", True), ('"off"', "off", False)],
)
def test_on_and_off_are_words_or_booleans_depending_on_the_field(
    tmp_path: Path, word: str, compiled: str, nesterov: bool
) -> None:
    recipe = load_recipe(written(tmp_path, f"training: {{compile: {word}}}\noptimizer: {{nesterov: {word}}}"))
    assert recipe.training.compile == compiled
    assert recipe.optimizer.nesterov is nesterov


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("No", False), ("OFF", False), ("true", True), ("False", False), ("TRUE", True)]
)
def test_every_yaml_boolean_is_a_boolean_in_a_recipe(tmp_path: Path, word: str, value: bool) -> None:
    assert load_recipe(written(tmp_path, f"training: {{drop_last: {word}}}")).training.drop_last is value


def test_a_number_is_read_as_a_word_if_the_field_accepts_only_words(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "input: {mxnet_level: 2}")).input.mxnet_level == "2"


@pytest.mark.parametrize(
    ("text", "key", "line", "first"),
    [
        ("training: {epochs: 1}\n\ntraining: {epochs: 2}\n", "training", 3, 1),
        ("optimizer:\n  lr: 0.1\n  nesterov: true\n  'lr': 0.2\n", "lr", 4, 2),
        ("optimizer: {lr: 0.1, lr: 0.2}", "lr", 1, 1),
        ("like: digits\nlike: step90\n", "like", 2, 1),
        ("input:\n  mean: [{a: 1, b: 2, a: 3}]\n", "a", 2, 2),
    ],
)
def test_a_repeated_key_is_an_error_at_every_level(tmp_path: Path, text: str, key: str, line: int, first: int) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value) == (
        f"{path}, line {line}: the key '{key}' is repeated; it is also in line {first}. Remove one of them."
    )


@pytest.mark.parametrize(
    ("base", "given", "sizes"),
    [
        ("pytorch-examples", {"image_size": 64}, {"eval_resize": 73}),
        ("pytorch-examples", {"image_size": 448}, {"eval_resize": 512}),
        ("pytorch-examples", {"image_size": 64, "eval_resize": 64}, {"eval_resize": 64}),
        ("pytorch-examples", {"image_size": 224}, {"eval_resize": 256}),
        ("timm-a3", {"image_size": 112}, {"eval_resize": 118, "train_size": 80}),
        ("ffcv-16", {"image_size": 128}, {"eval_resize": 146, "train_size": 96, "ramp_from": 80}),
        ("apm5", {"image_size": 112}, {"eval_resize": 128, "short_side": (128, 192)}),
        ("digits", {"image_size": 16}, {"eval_resize": 16, "train_size": "auto", "short_side": (256, 480)}),
    ],
)
def test_the_other_sizes_of_a_recipe_follow_a_new_image_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, base: str, given: dict[str, int], sizes: dict[str, Any]
) -> None:
    of_base = load_recipe(base)
    overridden = with_sizes_in_proportion(of_base.replace(**given), of_base, given)
    assert {name: getattr(overridden.input, name) for name in sizes} == sizes
    caplog.set_level("INFO", "tench")
    in_file = load_recipe(written(tmp_path, yaml.safe_dump({"like": base, "input": given})))
    assert in_file == overridden
    changed = any(getattr(of_base.input, name) != value for name, value in sizes.items() if name not in given)
    assert any(message.startswith("Note: image_size is ") for message in caplog.messages) == changed


def test_the_sizes_that_change_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    base = load_recipe("ffcv-16")
    caplog.set_level("INFO", "tench")
    with_sizes_in_proportion(base.replace(image_size=128), base, ["image_size"])
    assert caplog.messages == [
        "Note: image_size is 128 instead of 256: eval_resize 293 becomes 146, train_size 192 becomes 96, ramp_from 160 "
        "becomes 80."
    ]


def test_an_eval_resize_of_twice_the_image_size_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        validate(load_recipe("pytorch-examples").replace(image_size=64))
    assert str(refused.value) == (
        "recipe: input.eval_resize must be at least image_size (64) and below twice that, or auto, got 256."
    )


def test_a_recipe_may_be_an_object_a_name_or_a_path(tmp_path: Path) -> None:
    path = written(tmp_path, "training: {epochs: 7}")
    assert as_recipe(Recipe()) == Recipe()
    assert as_recipe("digits") == load_recipe("digits")
    assert as_recipe(path) == as_recipe(Path(path)) == Recipe().replace(epochs=7)


@pytest.mark.parametrize("value", [3, {"epochs": 3}, b"digits", ["digits"]])
def test_a_recipe_of_another_type_is_a_usage_error(value: Any) -> None:
    with pytest.raises(UsageError) as refused:
        as_recipe(value)
    assert str(refused.value) == (
        f"recipe must be a tench.Recipe, the name of a packaged recipe or the path of a YAML file, got {value!r}."
    )


@pytest.mark.parametrize(
    ("text", "shown"), [("1 epochs", "1 epoch"), ("0.5 epochs", "0.5 epochs"), ("1 steps", "1 step"), ("10%", "10 %")]
)
def test_a_duration_is_printed_in_its_usual_form(text: str, shown: str) -> None:
    assert str(Duration.parse(text, "warmup")) == shown
