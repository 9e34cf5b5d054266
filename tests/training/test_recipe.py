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
from tench.training.recipe_file import checked, from_plain, load_recipe, packaged_recipes

SECTIONS = ["source", "model", "input", "augment", "mix", "optimizer", "schedule", "average", "training"]
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of this type can have, in range or not."""
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
def test_any_recipe_comes_back_from_its_yaml_as_it_was(values: dict[str, Any]) -> None:
    recipe = Recipe().replace(**values)
    assert from_plain(yaml.safe_load(recipe.to_yaml()), "here") == recipe


def test_the_yaml_holds_every_value_in_the_order_of_the_fields() -> None:
    plain = yaml.safe_load(Recipe().to_yaml())
    assert list(plain) == SECTIONS
    paths = [f"{section}.{name}" for section, values in plain.items() for name in values]
    assert paths == [path for path, _ in Recipe().leaves()]
    assert plain["optimizer"]["lr"] == 0.1
    assert plain["input"]["scale"] == [0.08, 1.0]


def test_values_not_in_the_file_are_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "training: {epochs: 7}\n")) == Recipe().replace(epochs=7)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_recipe(written(tmp_path, text)) == Recipe()


def test_there_are_packaged_recipes() -> None:
    assert {"digits", "cifar-resnet"} <= set(packaged_recipes())


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_holds_exactly_what_its_file_says(name: str) -> None:
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


def test_a_value_has_one_name_in_all_sections() -> None:
    names = [path.split(".")[1] for path, _ in Recipe().leaves()]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []


def test_every_field_is_explained_where_it_stands() -> None:
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
        ("optimizer:", "optimizer should hold keys and values, found None."),
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
        ("like: nothing", "like is 'nothing', but should name a packaged recipe. Known: airbench94, "),
        ("like: step9", "like is 'step9', but should name a packaged recipe. Did you mean 'step90'"),
        (
            "like: [digits]",
            "like is ['digits'], but should name a packaged recipe. Did you mean 'digits'? Known: airbench94, ",
        ),
        ("{like: digits, training: {epoch: 3}}", "unknown key 'epoch' in training."),
    ],
)
def test_what_cannot_be_a_recipe_is_refused_with_its_place_and_what_to_write(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("text", ["training: {epochs: 3", "a: b: c", b"\xff\xfe\xff"])
def test_what_is_not_yaml_is_named(tmp_path: Path, text: str | bytes) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path}: is not YAML: ")


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("5E-5", 5e-5), ("2", 2.0), ("0.1", 0.1)])
def test_a_number_may_be_written_as_people_write_it(tmp_path: Path, text: str, value: float) -> None:
    found = load_recipe(written(tmp_path, f"optimizer: {{weight_decay: {text}}}")).optimizer.weight_decay
    assert found == value
    assert isinstance(found, float)


OUT_OF_RANGE: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 0}, "training.epochs is 0, but should be more than 0."),
    ({"batch_size": 0}, "training.batch_size is 0, but should be 1 or more."),
    ({"label_smoothing": 1.0}, "training.label_smoothing is 1.0, but should be 0 to below 1."),
    ({"label_smoothing": -0.1}, "training.label_smoothing is -0.1, but should be 0 to below 1."),
    ({"seed": -1}, "training.seed is -1, but should be 0 or more."),
    ({"lr": 0.0}, "optimizer.lr is 0.0, but should be more than 0."),
    ({"lr": math.inf}, "optimizer.lr is inf, but should be finite."),
    ({"lr": math.nan}, "optimizer.lr is nan, but should be finite."),
    ({"momentum": 1.0}, "optimizer.momentum is 1.0, but should be 0 to below 1."),
    ({"momentum": 0.0, "nesterov": True}, "optimizer.momentum is 0.0, but should be more than 0 with nesterov."),
    ({"weight_decay": -1e-4}, "optimizer.weight_decay is -0.0001, but should be 0 or more."),
    ({"clip_norm": -1.0}, "optimizer.clip_norm is -1.0, but should be 0 (no clipping) or more."),
    ({"gamma": 0.0}, "schedule.gamma is 0.0, but should be above 0 to 1."),
    ({"gamma": 1.5}, "schedule.gamma is 1.5, but should be above 0 to 1."),
    ({"power": 0.0}, "schedule.power is 0.0, but should be more than 0."),
    ({"warmup_from": 1.1}, "schedule.warmup_from is 1.1, but should be 0 to 1."),
    ({"lr": 0.1, "final_lr": 0.2}, "schedule.final_lr is 0.2, but should be 0 to the learning rate."),
    ({"image_size": 0}, "input.image_size is 0, but should be 1 or more, or auto."),
    ({"pad": -1}, "input.pad is -1, but should be 0 or more, or auto."),
    ({"train_size": 0}, "input.train_size is 0, but should be 1 or more, or auto."),
    ({"ramp_from": 0}, "input.ramp_from is 0, but should be 1 or more, or auto."),
    ({"ramp_from": 200, "train_size": 192}, "input.ramp_from is 200, but should be train_size or less."),
    ({"ramp_epochs": (3.0, 2.0)}, "input.ramp_epochs is (3.0, 2.0), but should be two epochs, 0 <= start <= end."),
    ({"ramp_multiple": 0}, "input.ramp_multiple is 0, but should be 1 or more."),
    ({"pad_fill": 256}, "input.pad_fill is 256, but should be 0 to 255, or reflect."),
    ({"channel_order": "bgr", "channels": 1}, "input.channel_order is bgr, but should be rgb with one channel."),
    (
        {"train_view": "mxnet", "mxnet_parameters": "inter_method=5"},
        "input.mxnet_parameters: MXNet's augmentation: inter_method must be one of 0, 1, 2, 3, 4, 9, 10.",
    ),
    (
        {"train_view": "mxnet", "mxnet_level": "2", "channels": 1},
        "input.mxnet_level is 2, with colour changes that grey images cannot have. Take a level without them "
        '("1", "cifar10"), or set them to 0 in mxnet_parameters.',
    ),
    ({"repeats": 0}, "input.repeats is 0, but should be 1 or more."),
    ({"flip": 1.5}, "input.flip is 1.5, but should be 0 to 1."),
    ({"scale": (0.5, 0.2)}, "input.scale is (0.5, 0.2), but should be two parts of the area, 0 < low <= high <= 1."),
    ({"scale": (0.5, 1.2)}, "input.scale is (0.5, 1.2), but should be two parts of the area, 0 < low <= high <= 1."),
    ({"ratio": (0.0, 1.0)}, "input.ratio is (0.0, 1.0), but should be two ratios, 0 < low <= high."),
    ({"ratio": (1.0, math.inf)}, "input.ratio is (1.0, inf), but should be finite."),
    ({"val_fraction": 1.0}, "input.val_fraction is 1.0, but should be above 0 to below 1."),
    ({"mean": (0.5, 0.5)}, "input.mean is (0.5, 0.5), but should be one number, or one for each of three channels."),
    ({"mean": (), "std": ()}, "input.mean is (), but should be one number, or one for each of three channels."),
    ({"std": (0.0,)}, "input.std is (0.0,), but should be one number, or one for each of three channels, more than 0."),
    ({"dropout": 1.0}, "model.dropout is 1.0, but should be 0 to below 1, or own."),
    ({"drop_path": -0.1}, "model.drop_path is -0.1, but should be 0 to below 1, or own."),
    ({"strides": (1, 1, 1, 2, 3)}, "model.strides is (1, 1, 1, 2, 3), but should be 1 or 2 each, or own."),
    (
        {"short_side": (256, 256)},
        "input.short_side is (256, 256), but should be two lengths, 0 < low < high, of resize-crop train_size or more.",
    ),
    ({"stretch": (0.0, 1.0)}, "input.stretch is (0.0, 1.0), but should be two factors, 0 < low <= high."),
    (
        {"lr_inside": True, "optimizer": "lamb"},
        "optimizer.lr_inside is True, but should be false except for sgd.",
    ),
    ({"betas": (0.9, 1.0)}, "optimizer.betas is (0.9, 1.0), but should be two numbers, 0 to below 1."),
    ({"alpha": 1.0}, "optimizer.alpha is 1.0, but should be 0 to below 1."),
    ({"eps": -1.0}, "optimizer.eps is -1.0, but should be 0 or more, or auto."),
    ({"trust": 0.0}, "optimizer.trust is 0.0, but should be more than 0."),
    ({"other_lr": 0.0}, "optimizer.other_lr is 0.0, but should be more than 0."),
    ({"head_lr": 0.0}, "optimizer.head_lr is 0.0, but should be more than 0."),
    ({"norm_bias_lr": 0.0}, "optimizer.norm_bias_lr is 0.0, but should be more than 0."),
    ({"warmup_least": 2.0}, "schedule.warmup_least is 2.0, but should be 0 to 1."),
    (
        {"milestones": (60.0, 30.0)},
        "schedule.milestones is (60.0, 30.0), but should be epochs, each later than the one before.",
    ),
    (
        {"milestones": (30.0, 30.0)},
        "schedule.milestones is (30.0, 30.0), but should be epochs, each later than the one before.",
    ),
    ({"average_decay": 1.0}, "average.average_decay is 1.0, but should be 0 to below 1, or auto."),
    ({"average_every": 0}, "average.average_every is 0, but should be 1 or more, or auto."),
    ({"accumulate": 0}, "training.accumulate is 0, but should be 1 to the batch size."),
    ({"accumulate": 9, "batch_size": 8}, "training.accumulate is 9, but should be 1 to the batch size."),
    ({"bce_threshold": 0.2}, "training.bce_threshold is 0.2, but should be 0 but with the loss bce."),
    ({"norm_bias_lr": 64.0, "optimizer": "muon"}, "optimizer.norm_bias_lr is 64.0, but should be 1 with muon."),
    (
        {"decay": "not-norms", "optimizer": "muon"},
        "optimizer.decay is not-norms, but should be left out with muon, which has its own rule.",
    ),
    (
        {"betas": (0.0, 0.999), "optimizer": "lamb"},
        "optimizer.betas is (0.0, 0.999), but should be two numbers above 0 to below 1 with lamb.",
    ),
    (
        {"ramp_from": 160, "train_size": 192},
        "input.ramp_epochs is (0.0, 0.0), but should be the epochs of the ramp, where ramp_from is given.",
    ),
    (
        {"ramp_epochs": (1.0, 3.0)},
        "input.ramp_from is auto, but should be a size, where ramp_epochs are given.",
    ),
    (
        {"flip_form": "alternate", "train_view": "mxnet"},
        "input.flip_form is alternate, but should be random with mxnet.",
    ),
    (
        {"compile": "on", "recompute": True},
        "training.compile is on, but should be auto or off with recompute, which cannot be compiled.",
    ),
    ({"bce_threshold": 1.0}, "training.bce_threshold is 1.0, but should be 0 (none) to below 1."),
    (
        {"hold": "110 %"},
        'schedule.hold: expected a duration such as "5 epochs", "500 steps" or "10 %", found \'110 %\'.',
    ),
    (
        {"freeze_from": "soon"},
        'optimizer.freeze_from: expected a duration such as "5 epochs", "500 steps" or "10 %", found \'soon\'.',
    ),
    (
        {"image_size": 32, "eval_resize": 31},
        "input.eval_resize is 31, but should be image_size (32) or more; auto goes with the size.",
    ),
    (
        {"color_jitter": (0.4, -0.1, 0.0, 0.0)},
        "augment.color_jitter is (0.4, -0.1, 0.0, 0.0), but should be four numbers, 0 (none) or more, the hue at most "
        "0.5.",
    ),
    (
        {"color_jitter": (0.4, 0.4, 0.4, 0.6)},
        "augment.color_jitter is (0.4, 0.4, 0.4, 0.6), but should be four numbers, 0 (none) or more, the hue at most "
        "0.5.",
    ),
    ({"lighting": -0.1}, "augment.lighting is -0.1, but should be 0 (none) or more."),
    ({"cutout": -1}, "augment.cutout is -1, but should be 0 (none) or more."),
    (
        {"policy": "randaugment"},
        "augment.policy is randaugment: unknown augmentation policy. Known: none, "
        "randaugment-N-M, trivialaugment-wide, autoaugment-imagenet, autoaugment-cifar10, autoaugment-svhn, "
        "rand-mM-nN-mstdS-inc1.",
    ),
    ({"mixup": -0.1}, "mix.mixup is -0.1, but should be 0 or more."),
    ({"mixup": 0.2, "batch_size": 1}, "mix.mixup is 0.2, but should be 0 with a batch of 1."),
    ({"cutmix": 1.0, "batch_size": 1}, "mix.cutmix is 1.0, but should be 0 with a batch of 1."),
    ({"mix_prob": 1.1}, "mix.mix_prob is 1.1, but should be 0 to 1."),
    ({"mix_switch": -1.0}, "mix.mix_switch is -1.0, but should be 0 to 1."),
    ({"mix_mode": "pair"}, "mix.mix_mode is pair, but should be batch, or mix_form timm."),
    ({"erasing": 2.0}, "mix.erasing is 2.0, but should be 0 to 1."),
    (
        {"erasing_area": (0.0, 0.3)},
        "mix.erasing_area is (0.0, 0.3), but should be two parts of the area, 0 < low <= high <= 1.",
    ),
    ({"erasing_ratio": (2.0, 1.0)}, "mix.erasing_ratio is (2.0, 1.0), but should be two ratios, 0 < low <= high."),
    ({"erasing_count": 0}, "mix.erasing_count is 0, but should be 1 or more."),
    ({"step_every": "0 epochs"}, "schedule.step_every is 0 epochs, but should be more than 0."),
    (
        {"warmup": "5"},
        'schedule.warmup: expected a duration such as "5 epochs", "500 steps" or "10 %", found \'5\'.',
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
    assert str(refused.value) == f"{path}: training.epochs is 0, but should be more than 0."


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
        ("23 %", 16),  # of 70 steps 16.1
        ("100%", 70),
    ],
)
def test_a_duration_becomes_steps(text: str, steps: int) -> None:
    assert Duration.parse(text, "warmup").steps(steps_per_epoch=10, total_steps=70) == steps


@pytest.mark.parametrize(
    "text", ["", "5", "epochs", "5 minutes", "-1 epochs", "five epochs", "nan steps", "inf epochs", "101 %"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Duration.parse(text, "mine: schedule.warmup")
    expected = f'mine: schedule.warmup: expected a duration such as "5 epochs", "500 steps" or "10 %", found {text!r}.'
    assert str(refused.value) == expected


def test_an_unknown_recipe_lists_the_nearest_and_all() -> None:
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
        ({"lr": 0.0}, "recipe: optimizer.lr is 0.0, but should be more than 0."),
    ],
)
def test_a_recipe_made_in_python_is_held_to_what_a_file_is(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked(Recipe().replace(**values))
    assert str(refused.value).startswith(message)


def test_a_recipe_that_can_be_is_checked_to_the_same() -> None:
    for name in packaged_recipes():
        assert checked(load_recipe(name)) == load_recipe(name)


def alias_bomb(merge: bool) -> str:
    """Nine levels, each of which repeats the one before nine times."""
    lines = ["- &a {x: 1}" if merge else "- &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        repeated = ", ".join([f"*{before}"] * 9)
        lines.append(f"- &{name} {{<<: [{repeated}]}}" if merge else f"- &{name} [{repeated}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (alias_bomb(False), "its aliases (*name) stand for more than 10,000 values"),
        (alias_bomb(True), "its aliases (*name) stand for more than 10,000 values"),
        ("&a [*a]", "its aliases (*name) stand for more than 10,000 values"),
        ("&a {training: *a}", "its aliases (*name) stand for more than 10,000 values"),
        ("[" * 20_000, "nested too deeply"),
        ("{a: " * 20_000, "nested too deeply"),
        ("training: {epochs: 2001-99-99}", "month must be in 1..12"),
        ("training: {epochs: " + "9" * 5000 + "}", "Exceeds the limit"),
        ("*" + "a" * 100_000, "found undefined alias"),
    ],
)
def test_a_recipe_that_stands_for_too_much_is_refused_in_a_few_words(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path}: is not YAML: {reason}")
    assert len(str(refused.value)) < 1000


def test_a_recipe_with_a_few_aliases_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "input: {mean: &grey [0.5, 0.5, 0.5], std: *grey}")
    assert load_recipe(path).input.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("text", ["{}: {{a: 1}}", "training: {{{}: 1}}", "training: {{epochs: {}}}", "like: {}", "{}"])
def test_an_error_of_a_recipe_is_short_whatever_was_found(tmp_path: Path, text: str) -> None:
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
