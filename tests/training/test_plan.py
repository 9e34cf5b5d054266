import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from tench.data.source import open_source
from tench.data.table import Classes, Contents, Dataset, Rows, Table, load, save
from tench.errors import TenchError, UsageError
from tench.input.augment import Augmented, ColorJitter, Cutout, Lighting
from tench.input.autoaugment import RandAugment
from tench.input.erasing import Erasing
from tench.input.loader import Loader
from tench.input.mix import BatchMix
from tench.input.mxnet_augment import mxnet_augment
from tench.input.order import Order
from tench.input.resident import Resident
from tench.input.timm_augment import TimmRandAugment
from tench.input.views import EvalView, PadCrop, RandomResizedCrop
from tench.training import plan
from tench.training.plan import (
    open_batches,
    open_data,
    require_sizes,
    resolve,
    try_compile,
)
from tench.training.recipe import Input, Recipe, Resolved
from tench.training.recipe_views import eval_view, on_batch, train_size, train_view

CPU = torch.device("cpu")


def write_images(folder: Path, classes: str, count: int, size: tuple[int, int] = (8, 8)) -> Path:
    """Write `count` images per class as folder/CLASS/0.png, ... (classes separated by spaces). Returns the folder."""
    for name in classes.split():
        for number in range(count):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (number, sum(name.encode()) % 256, 99)).save(path)
    return folder


def train_of(source: Path | str) -> Table:
    return open_source(source).splits["train"]


def class_names_by_key(table: Table, classes: Classes) -> dict[str, str]:
    return {table.key(row): classes.ids[table.labels[row]] for row in range(len(table))}


@pytest.mark.parametrize(("size", "image_size"), [((20, 20), 20), ((64, 64), 64), ((65, 65), 224), ((20, 21), 224)])
def test_small_squares_are_trained_at_their_own_size(tmp_path: Path, size: tuple[int, int], image_size: int) -> None:
    recipe = resolve(Recipe(), train_of(write_images(tmp_path, "a b", 2, size)), CPU)
    assert recipe.input.image_size == image_size


def test_small_images_are_padded_and_cropped(tmp_path: Path) -> None:
    recipe = resolve(Recipe(), train_of(write_images(tmp_path, "a b", 2, (20, 20))), CPU)
    assert train_view(recipe) == PadCrop(size=20, pad=2, flip=0.5)
    assert eval_view(recipe) == EvalView(size=20, resize=20)


def test_photographs_are_cropped_at_random_and_evaluated_at_seven_eighths(photo_folder: Path) -> None:
    recipe = resolve(Recipe(), train_of(photo_folder), CPU)
    assert recipe.input.channels == 3
    assert train_view(recipe) == RandomResizedCrop(size=224, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5)
    assert eval_view(recipe) == EvalView(size=224, resize=256)


def test_small_images_of_different_sizes_are_not_trained_at_their_own_size(tmp_path: Path) -> None:
    write_images(tmp_path, "a b", 2, (20, 20))
    write_images(tmp_path, "c", 2, (16, 16))
    assert resolve(Recipe(), train_of(tmp_path), CPU).input.image_size == 224


def test_raw_grey_pixels_make_one_channel_with_the_averaged_mean() -> None:
    recipe = resolve(Recipe(), train_of("digits"), CPU)
    assert recipe.input.channels == 1
    assert recipe.input.image_size == 8
    assert recipe.input.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3])
    assert recipe.input.std == pytest.approx([(0.229 + 0.224 + 0.225) / 3])


@pytest.mark.parametrize(
    ("values", "decay"),
    [
        ({"epochs": 10}, 1 - 10 / (10 * 1438 / 32)),
        ({"epochs": 10, "average_every": 4}, 1 - 10 / (10 * 1438 / 32 / 4)),
        ({"epochs": 10_000}, 0.9999),
        ({"epochs": 0.1}, 0.0),
        ({"epochs": 10, "average_form": "timm"}, 0.9999),
        ({"epochs": 10, "average": "lookahead"}, 0.95),
    ],
)
def test_an_average_spans_a_tenth_of_a_short_run(values: dict[str, Any], decay: float) -> None:
    recipe = Recipe().replace(**{"average": "ema", "batch_size": 32, **values})
    assert resolve(recipe, train_of("digits"), CPU).average.average_decay == pytest.approx(decay, abs=1e-5)


def test_a_single_mean_is_repeated_for_three_channels() -> None:
    recipe = resolve(Recipe().replace(channels=3, mean=(0.5,), std=(0.25,)), train_of("digits"), CPU)
    assert recipe.input.mean == (0.5, 0.5, 0.5)
    assert recipe.input.std == (0.25, 0.25, 0.25)


def test_explicit_values_are_kept(photo_folder: Path) -> None:
    asked = Recipe().replace(
        arch="resnet20",
        eps=1e-5,
        crop_mode="squash",
        interpolation="bicubic",
        channel_order="rgb",
        compile="on",
        image_size=96,
        train_size=80,
        ramp_from=64,
        ramp_epochs=(1.0, 2.0),
        exif="ignore",
        average_decay=0.5,
        average_every=2,
        channels=1,
        train_view="pad-crop",
        pad=7,
        eval_resize=100,
        mean=(0.4,),
        std=(0.2,),
        precision="fp16",
        memory_format="nchw",
    )
    assert dict(resolve(asked, train_of(photo_folder), CPU).leaves()) == dict(asked.leaves())


def test_no_value_of_a_resolved_recipe_is_auto() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    recipe = try_compile(resolve(Recipe(), train_of("digits"), CPU), network, CPU, steps=10, loss_of=F.cross_entropy)
    assert [name for name, value in recipe.leaves() if value == "auto"] == []


def test_a_resolved_recipe_has_every_section_and_value_of_a_recipe_in_the_same_order() -> None:
    assert [path for path, _ in resolved().leaves()] == [path for path, _ in Recipe().leaves()]


def test_a_recipe_with_an_auto_cannot_become_a_resolved_one() -> None:
    with pytest.raises(UsageError) as refused:
        Resolved.of(resolved().replace(pad="auto", compile="auto"), "r.yaml")
    assert str(refused.value) == "r.yaml: input.pad, training.compile must have a value here, not auto."


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_used_if_the_hardware_supports_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str
) -> None:
    monkeypatch.setattr(plan, "has_bf16", lambda device: has_bf16)
    assert resolve(Recipe(), train_of("digits"), CPU).training.precision == precision


@pytest.mark.parametrize(("arch", "memory_format"), [("resnet20", "nhwc"), ("mlp", "nchw")])
def test_networks_with_convolutions_are_channels_last(arch: str, memory_format: str) -> None:
    assert resolve(Recipe().replace(arch=arch), train_of("digits"), CPU).training.memory_format == memory_format


def test_small_datasets_are_kept_on_the_device_and_photographs_are_loaded(photo_folder: Path) -> None:
    def kind(source: Path | str, training: bool) -> type:
        table = train_of(source)
        recipe = resolve(Recipe(), table, CPU)
        order = Order(num_rows=len(table), batch_size=4)
        view = train_view(recipe) if training else eval_view(recipe)
        batches = open_batches(table, view, order, channels=1, device=CPU, threads=1)
        batches.close()
        return type(batches)

    assert kind("digits", True) is Resident
    assert kind("digits", False) is Resident
    assert kind(photo_folder, True) is Loader
    assert kind(photo_folder, False) is Loader


def test_augmentations_follow_the_crop_in_the_order_of_the_fields() -> None:
    asked = Recipe().replace(
        policy="randaugment-2-9",
        policy_filter="bilinear",
        color_jitter=(0.4, 0.3, 0.2, 0.1),
        lighting=0.1,
        cutout=3,
        mean=(0.5, 0.25, 1.0),
    )
    plain = resolve(Recipe().replace(channels=3), train_of("digits"), CPU)
    assert train_view(resolve(asked.replace(channels=3), train_of("digits"), CPU)) == Augmented(
        train_view(plain),
        (
            RandAugment(num_ops=2, magnitude=9, resample="bilinear"),
            ColorJitter(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1),
            Lighting(std=0.1),
            Cutout(side=3, fill=(128, 64, 255)),
        ),
    )


def test_timms_policies_fill_with_the_mean() -> None:
    asked = Recipe().replace(policy="rand-m9-inc1", mean=(0.5,), std=(0.5,))
    view = train_view(resolve(asked, train_of("digits"), CPU))
    assert isinstance(view, Augmented)
    assert view.augmentations == (TimmRandAugment(magnitude=9, increasing=True, fill=(128,)),)


def test_cutout_of_a_bgr_network_fills_with_the_mean_in_rgb() -> None:
    asked = Recipe().replace(cutout=3, channels=3, channel_order="bgr", mean=(0.5, 0.25, 1.0), std=(0.5, 0.5, 0.5))
    view = train_view(resolve(asked, train_of("digits"), CPU))
    assert isinstance(view, Augmented)
    assert view.augmentations == (Cutout(side=3, fill=(255, 64, 128)),)


@pytest.mark.parametrize(
    ("arch", "channels", "order"),
    [
        ("edgeai:regnetx400mf_x1_bgr", 3, "bgr"),
        ("edgeai:regnetx400mf_x1", 3, "rgb"),
        ("edgeai:regnetx400mf_x1_bgr", 1, "rgb"),
        ("resnet18", 3, "rgb"),
    ],
)
def test_a_network_with_bgr_in_its_name_gets_bgr_images_and_this_is_logged(
    arch: str, channels: int, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tench")
    asked = Recipe().replace(arch=arch, channels=channels, image_size=32, std=(0.1, 0.2, 0.3))
    view = resolve(asked, train_of("digits"), CPU).input
    assert view.channel_order == order
    if channels == 3:
        assert (view.mean, view.std) == {
            "rgb": ((0.485, 0.456, 0.406), (0.1, 0.2, 0.3)),
            "bgr": ((0.406, 0.456, 0.485), (0.3, 0.2, 0.1)),
        }[order]
    assert any("expects BGR images" in message for message in caplog.messages) == (order == "bgr")


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_channel_order_in_the_recipe_is_kept_with_its_mean(order: str) -> None:
    asked = Recipe().replace(arch="edgeai:regnetx400mf_x1_bgr", channels=3, channel_order=order, mean=(0.1, 0.2, 0.3))
    view = resolve(asked.replace(image_size=32), train_of("digits"), CPU).input
    assert (view.channel_order, view.mean) == (order, (0.1, 0.2, 0.3))


def test_values_that_contradict_a_resolved_auto_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"input\.eval_resize must be at least image_size \(8\) and below twice that, or auto, got 4\."
    ):
        resolve(Recipe().replace(eval_resize=4), train_of("digits"), CPU)


@pytest.mark.parametrize(
    "values",
    [{"policy": "trivialaugment-wide"}, {"color_jitter": (0.1, 0.0, 0.0, 0.0)}, {"lighting": 0.1}, {"cutout": 2}],
)
def test_small_images_are_loaded_if_they_are_augmented(values: dict[str, Any]) -> None:
    table = train_of("digits")
    view = train_view(resolve(Recipe().replace(**values), table, CPU))
    with contextlib.closing(
        open_batches(table, view, Order(num_rows=len(table), batch_size=4), channels=1, device=CPU, threads=1)
    ) as batches:
        assert isinstance(batches, Loader)
        assert next(batches.batches(epoch=0)).images.shape == (4, 1, 8, 8)


def resolved(**values: Any) -> Resolved:
    return resolve(Recipe().replace(image_size=224, **values), train_of("digits"), CPU)


@pytest.mark.parametrize(
    ("first", "last", "start", "end"), [(160, 192, 11, 13), (160, 192, 65, 76), (128, 224, 2, 9), (96, 97, 0, 4)]
)
def test_training_images_grow_as_in_ffcv(first: int, last: int, start: int, end: int) -> None:
    recipe = resolved(train_size=last, ramp_from=first, ramp_epochs=(float(start), float(end)), epochs=end + 3)
    for epoch in range(end + 3):
        size = np.interp(epoch, [start, end], [first, last])
        within = int(np.clip(np.round(size / 32) * 32, first, last))
        assert train_size(recipe, epoch) == (within if start < epoch < end else size)
        assert train_view(recipe, epoch).size == train_size(recipe, epoch)
    assert eval_view(recipe) == EvalView(size=224, resize=256)


def test_training_images_may_be_smaller_than_evaluation_images() -> None:
    recipe = resolved(train_size=176)
    assert {train_size(recipe, epoch) for epoch in range(90)} == {176}
    assert eval_view(recipe).size == 224
    assert train_size(resolved(), 0) == 224


def test_a_network_for_one_size_is_refused_for_other_sizes() -> None:
    asked = Recipe().replace(image_size=8, channels=1, train_size=8, ramp_from=6, ramp_epochs=(1.0, 2.0), epochs=3)
    recipe = resolve(asked, train_of("digits"), CPU)
    require_sizes(nn.Conv2d(1, 2, 3), recipe)
    with pytest.raises(UsageError) as refused:
        require_sizes(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), recipe.replace(arch="mlp"))
    assert str(refused.value).startswith("mlp was created for images of 8 px and does not accept 6 px (mat1 and mat2")
    assert str(refused.value).endswith("Leave train_size and ramp_from at auto, or choose another network.")


def test_the_border_of_a_pad_crop_comes_from_the_recipe() -> None:
    recipe = resolved(train_view="pad-crop", pad=4, pad_fill="reflect", train_size=32)
    assert train_view(recipe) == PadCrop(size=32, pad=4, fill="reflect")


def test_mxnets_augmentation_uses_the_recipes_level_and_parameters() -> None:
    values = {"mxnet_level": "imagenet", "mxnet_parameters": "pca_noise=0", "train_size": 128}
    recipe = resolved(train_view="mxnet", channels=3, **values)
    assert train_view(recipe) == mxnet_augment(128, "imagenet", "pca_noise=0")
    order = Order(num_rows=4, batch_size=2)
    small = train_view(recipe.replace(train_size=8, mxnet_level="1"))
    with Loader(train_of("digits"), small, order, channels=1, threads=1) as loader:
        assert next(loader.batches(0)).images.shape == (2, 1, 8, 8)
    batches = open_batches(train_of("digits"), small, order, channels=1, device=CPU, threads=1)
    batches.close()
    assert isinstance(batches, Loader)  # small images are augmented too, so nothing is kept on the device


def test_each_value_of_mixing_and_erasing_reaches_its_parameter() -> None:
    order = Order(num_rows=8, batch_size=4)
    recipe = Recipe().replace(
        mixup=0.1,
        cutmix=0.2,
        mix_prob=0.3,
        mix_switch=0.4,
        mix_mode="elem",
        mix_form="timm",
        erasing=0.6,
        erasing_value="pixel",
        erasing_area=(0.7, 0.8),
        erasing_ratio=(0.9, 1.1),
        erasing_count=2,
    )
    found = on_batch(recipe, order, 5)
    assert found.mix == BatchMix(mixup=0.1, cutmix=0.2, prob=0.3, switch_prob=0.4, mode="elem", form="timm")
    assert found.erasing == Erasing(prob=0.6, area=(0.7, 0.8), ratio=(0.9, 1.1), count=2, value="pixel")
    assert (found.order, found.num_classes) == (order, 5)


def test_batches_do_not_change_unless_the_recipe_mixes_or_erases() -> None:
    order = Order(num_rows=8, batch_size=4)
    assert (on_batch(Recipe(), order, 5).mix, on_batch(Recipe(), order, 5).erasing) == (None, None)
    defaults = on_batch(Recipe().replace(mixup=0.2, erasing=0.1), order, 5)
    assert (defaults.mix, defaults.erasing) == (BatchMix(mixup=0.2), Erasing(prob=0.1))  # torchvision's default


def test_a_source_is_validated_on_its_split_val(photo_folder: Path) -> None:
    data = open_data(str(photo_folder), None, Input())
    assert data.val_name == f"{photo_folder} (val)"
    assert (len(data.train), len(data.val)) == (18, 6)
    for table in (data.train, data.val):
        assert all(key.startswith(f"{name}/") for key, name in class_names_by_key(table, data.classes).items())
    assert data.facts["val"] is None
    assert data.facts["fingerprint"] == open_source(photo_folder).fingerprint


def test_a_source_without_val_is_validated_on_its_split_test(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a b c", 2)
    write_images(tmp_path / "test", "a b c", 1)
    data = open_data(str(tmp_path), None, Input())
    assert data.val_name == f"{tmp_path} (test)"
    assert (len(data.train), len(data.val)) == (6, 3)


def test_val_is_preferred_to_test(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a b", 2)
    write_images(tmp_path / "test", "a b", 1)
    write_images(tmp_path / "val", "a b", 3)
    assert open_data(str(tmp_path), None, Input()).val_name == f"{tmp_path} (val)"


def test_without_val_and_test_a_share_of_each_class_is_held_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, "a b c", 10)
    with caplog.at_level(logging.INFO, "tench"):
        first, again = (open_data(str(tmp_path), None, Input(val_fraction=0.2)) for _ in range(2))
    assert first.val_name == f"{tmp_path} (held out of train)"
    assert (len(first.train), len(first.val)) == (24, 6)
    assert np.bincount(first.val.labels).tolist() == [2, 2, 2]
    assert not set(first.train.keys()) & set(first.val.keys())
    assert first.val.keys() == again.val.keys()
    assert len(set(first.train.keys()) | set(first.val.keys())) == 30
    assert (
        "There is neither a val nor a labelled test split: 6 of 30 images are held out for validation, "
        "always the same ones." in caplog.messages
    )


def test_a_test_split_without_labels_is_not_used_for_validation(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a b", 10)
    write_images(tmp_path / "test", "images", 4)
    data = open_data(str(tmp_path), None, Input())
    assert data.val_name == f"{tmp_path} (held out of train)"
    assert len(data.val) == 2


def test_a_val_without_labels_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a b", 10)
    write_images(tmp_path / "val", "images", 4)
    with pytest.raises(TenchError) as refused:
        open_data(str(tmp_path), None, Input())
    assert str(refused.value) == (
        f"{tmp_path} (val): 4 of 4 images have no label, such as 0.png. "
        "Training and evaluation need a label for each image; tench predict does not."
    )


def test_the_labels_of_another_source_are_matched_by_class_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path / "mine", "a b c d", 2)
    write_images(tmp_path / "other", "d b", 3)  # labelled b: 0, d: 1 in that source
    with caplog.at_level(logging.INFO, "tench"):
        data = open_data(str(tmp_path / "mine"), str(tmp_path / "other"), Input())
    assert data.val_name == f"{tmp_path / 'other'} (train)"
    assert len(data.train) == 8  # nothing is held out
    names = class_names_by_key(data.val, data.classes)
    assert len(names) == 6
    assert all(key.startswith(f"{name}/") for key, name in names.items())
    assert (
        f"{tmp_path / 'other'} has the classes of {tmp_path / 'mine'} in another order; labels are remapped by "
        "class id." in caplog.messages
    )


def test_of_another_validation_source_the_split_val_or_test_is_used(tmp_path: Path) -> None:
    write_images(tmp_path / "mine", "a b", 2)
    write_images(tmp_path / "other" / "train", "a b", 5)
    write_images(tmp_path / "other" / "val", "a b", 1)
    data = open_data(str(tmp_path / "mine"), str(tmp_path / "other"), Input())
    assert data.val_name == f"{tmp_path / 'other'} (val)"


def test_validating_on_the_training_set_itself_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "mine", "a b", 5)
    with pytest.raises(TenchError, match="is the training set itself, so validating on it would be meaningless"):
        open_data(str(tmp_path / "mine"), str(tmp_path / "mine"), Input())


def test_the_absolute_path_of_the_validation_source_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "mine", "a b", 2)
    write_images(tmp_path / "other", "a b", 3)
    monkeypatch.chdir(tmp_path)
    facts = open_data("mine", "other", Input()).facts
    assert facts["source"] == str(tmp_path / "mine")
    assert facts["val"] == str(tmp_path / "other")
    assert facts["val_fingerprint"] == open_source("other").fingerprint


def test_a_class_that_training_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    write_images(tmp_path / "mine", "a b", 2)
    write_images(tmp_path / "other", "a z", 2)
    with pytest.raises(TenchError) as refused:
        open_data(str(tmp_path / "mine"), str(tmp_path / "other"), Input())
    assert str(refused.value) == (
        f"1 of the 2 classes of {tmp_path / 'other'} is not in {tmp_path / 'mine'}: z. "
        f"{tmp_path / 'mine'} has 2 classes: a, b. Check that both are from the same dataset."
    )


def test_a_validation_set_of_one_class_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a b c", 2)
    write_images(tmp_path / "val", "b", 5)
    with pytest.raises(TenchError) as refused:
        open_data(str(tmp_path), None, Input())
    assert str(refused.value) == (
        f"{tmp_path} (val): all 5 images are of one class, but there are 3 classes. This happens if a flat folder of "
        "validation images is read as one class. Sort the images into class folders, or add a file with the labels."
    )


@pytest.fixture
def found_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, list[int]]], None]:
    """Let open_data find a dataset of two classes with these labels in its splits."""

    def find(labels: dict[str, list[int]]) -> None:
        splits = {
            name: Rows(
                ["x"], np.zeros(len(of), np.int32), 0, 1, np.array(of, np.int32), [f"{n}" for n in range(len(of))]
            )
            for name, of in labels.items()
        }
        save(Contents(Classes.of(["a", "b"]), splits, []), tmp_path / "table", source="made", layout="made")
        loaded = load(tmp_path / "table")
        assert loaded is not None
        dataset: Dataset = loaded
        monkeypatch.setattr(plan, "open_source", lambda source, options: dataset)

    return find


def test_training_images_without_labels_are_refused(found_as: Callable[[dict[str, list[int]]], None]) -> None:
    found_as({"train": [0, 1, -1, 0, -1], "val": [0, 1]})
    with pytest.raises(TenchError) as refused:
        open_data("made", None, Input())
    assert str(refused.value) == (
        "made (train): 2 of 5 images have no label, such as 2. "
        "Training and evaluation need a label for each image; tench predict does not."
    )


def test_a_split_without_images_is_refused(found_as: Callable[[dict[str, list[int]]], None]) -> None:
    found_as({"train": [0, 1], "val": []})
    with pytest.raises(TenchError, match=r"made \(val\) has no images\."):
        open_data("made", None, Input())


def test_a_source_without_train_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "val", "a b", 2)
    with pytest.raises(TenchError) as refused:
        open_data(str(tmp_path), None, Input())
    assert str(refused.value) == f"{tmp_path} has no split 'train'; it has val."


def test_a_missing_source_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        open_data(str(tmp_path / "gone"), None, Input())
