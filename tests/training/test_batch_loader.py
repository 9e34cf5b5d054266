"""The loader for custom loops yields what `fit` trains and validates on, and leaves nothing behind."""

import gc
import logging
import multiprocessing
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tench
from tench.compat import import_torchvision
from tench.errors import TenchError, UsageError
from tench.evaluation.measure import evaluation_order
from tench.training.plan import open_batches, open_data, resolve, train_order
from tench.training.recipe import Recipe
from tench.training.recipe_views import eval_view, train_view

CPU = torch.device("cpu")
SMALL = Recipe().replace(image_size=24, train_view="random-resized-crop", batch_size=4, pad=2)
LARGE = SMALL.replace(image_size=72, eval_resize=80)
"""Too large to be kept on the device as a whole, so threads prepare each batch."""


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("tench-loader")}


def same(ours: Iterator[tench.Batch], theirs: Iterator[tench.Batch]) -> int:
    """Check that the batches are pairwise equal. Returns their number."""
    count = 0
    for mine, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
        count += 1
    return count


@pytest.mark.parametrize("recipe", [SMALL, SMALL.replace(train_view="pad-crop"), LARGE, LARGE.replace(repeats=2)])
def test_training_batches_match_those_of_fit(photo_folder: Path, recipe: Recipe) -> None:
    data = open_data(photo_folder, None, recipe.input)
    resolved = resolve(recipe, data.train, CPU)
    order = train_order(resolved, data.train)
    with tench.loader(photo_folder, "train", recipe, device="cpu") as loader:
        assert loader.recipe == resolved.replace(memory_format="nhwc")
        for epoch in (0, 3):
            theirs = open_batches(data.train, train_view(resolved, epoch), order, channels=3, device=CPU, threads=1)
            assert same(loader.epoch(epoch), iter(theirs.batches(epoch))) == len(loader) == 4
            theirs.close()


@pytest.mark.parametrize("recipe", [SMALL, LARGE])
def test_validation_batches_show_each_image_once_in_the_evaluation_view(photo_folder: Path, recipe: Recipe) -> None:
    import_torchvision()
    from torchvision.transforms.functional import center_crop, resize

    with tench.loader(photo_folder, "val", recipe, device="cpu", batch_size=4) as loader:
        batches = list(loader.epoch(0))
        assert [len(batch.rows) for batch in batches] == [4, 2]
        assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(6))
        view = loader.recipe.input
        for images, labels, rows in batches:
            for image, label, row in zip(images, labels.tolist(), rows.tolist(), strict=True):
                key = loader.table.key(row)
                assert loader.classes.ids[label] == key.split("/")[0]
                with Image.open(photo_folder / "val" / key) as photo:
                    expected = center_crop(
                        resize(photo.convert("RGB"), [int(view.eval_resize)]), [int(view.image_size)]
                    )
                difference = np.abs(np.asarray(expected, np.int16) - image.permute(1, 2, 0).numpy().astype(np.int16))
                assert difference.max() <= 2


def test_auto_values_come_from_the_weights_as_in_fit(tmp_path: Path) -> None:
    run = tench.fit("digits", recipe=tench.load_recipe("digits").replace(epochs=1), run=tmp_path / "run")
    recipe = tench.load_recipe("digits").replace(weights=str(run.folder), mean="auto", std="auto", image_size="auto")
    with tench.loader("digits", "train", recipe, device="cpu") as loader:
        stored = tench.load(run.folder).card
        assert (loader.recipe.input.mean, loader.recipe.input.std) == (stored.mean, stored.std)


def test_images_that_fit_holds_out_are_val_and_never_train(photo_folder: Path) -> None:
    folder = photo_folder / "train"
    with (
        tench.loader(folder, "train", SMALL, device="cpu", batch_size=1) as train,
        tench.loader(folder, "val", SMALL, device="cpu") as val,
    ):
        keys = [{loader.table.key(row) for b in loader.epoch(0) for row in b.rows.tolist()} for loader in (train, val)]
    assert len(keys[0]) + len(keys[1]) == 18
    assert not keys[0] & keys[1]
    assert len(keys[1]) == 3


def test_any_other_split_is_shown_in_the_evaluation_view(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "photos")
    shutil.copytree(photo_folder / "val", tmp_path / "photos/test")
    with (
        tench.loader(tmp_path / "photos", "test", SMALL, device="cpu") as test,
        tench.loader(photo_folder, "val", SMALL, device="cpu") as val,
    ):
        assert same(test.epoch(0), val.epoch(0)) == 2
    with pytest.raises(TenchError) as error:
        tench.loader(tmp_path / "photos", "tset", SMALL)
    assert str(error.value) == f"{tmp_path / 'photos'} has no split 'tset'; it has train, val, test."


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_each_batch_and_together_see_each_image_once(
    photo_folder: Path, split: str, world_size: int
) -> None:
    recipe = SMALL.replace(batch_size=5, drop_last=split == "val")
    if split == "train" and world_size > 3:
        recipe = recipe.replace(drop_last=True)
    with tench.loader(photo_folder, split, recipe, device="cpu") as whole:
        expected = list(whole.epoch(1))
    seen: list[list[tench.Batch]] = []
    for rank in range(world_size):
        share = tench.loader(photo_folder, split, recipe, device="cpu", rank=rank, world_size=world_size)
        with share:
            assert len(share) == len(expected)
            seen.append(list(share.epoch(1)))
    for step, batch in enumerate(expected):
        rows = torch.cat([batches[step].rows for batches in seen])
        assert torch.equal(rows, batch.rows)
        assert torch.equal(torch.cat([batches[step].images for batches in seen]), batch.images)


def test_a_training_batch_with_fewer_images_than_processes_is_refused(photo_folder: Path) -> None:
    for recipe, count in (
        (SMALL.replace(batch_size=17, drop_last=False), "1 image"),
        (SMALL.replace(batch_size=3), "3 images"),
    ):
        with pytest.raises(UsageError) as error:
            tench.loader(photo_folder, "train", recipe, rank=0, world_size=4)
        assert str(error.value) == (
            f"A training batch of {count} cannot be shared by 4 processes. Use a larger batch_size, or set drop_last "
            "in the recipe if it is the last batch of an epoch."
        )


def test_the_rank_is_that_of_torch_distributed_if_none_is_given(photo_folder: Path, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with tench.loader(photo_folder, "val", SMALL, device="cpu") as loader:
            assert sum(len(batch.rows) for batch in loader.epoch(0)) == 6
    finally:
        torch.distributed.destroy_process_group()


def test_an_epoch_can_resume_at_any_step(photo_folder: Path) -> None:
    with tench.loader(photo_folder, "train", LARGE, device="cpu") as loader:
        whole = list(loader.epoch(3))
        for first in range(len(loader) + 1):
            assert same(loader.epoch(3, first_step=first), iter(whole[first:])) == len(loader) - first


def test_iterating_continues_from_one_epoch_to_the_next(photo_folder: Path) -> None:
    with tench.loader(photo_folder, "train", LARGE, device="cpu") as loader:
        expected = [torch.cat([batch.rows for batch in loader.epoch(epoch)]) for epoch in range(3)]
    with tench.loader(photo_folder, "train", LARGE, device="cpu") as loader:
        for rows in expected:
            assert torch.equal(torch.cat([batch.rows for batch in loader]), rows)
        list(loader.epoch(0))
        assert torch.equal(torch.cat([batch.rows for batch in loader]), expected[1])


def test_the_number_of_threads_does_not_change_the_batches(photo_folder: Path) -> None:
    with (
        tench.loader(photo_folder, "train", LARGE, device="cpu", threads=1) as one,
        tench.loader(photo_folder, "train", LARGE, device="cpu", threads=3) as several,
    ):
        assert same(one.epoch(0), several.epoch(0)) == 4


def test_training_images_grow_as_the_recipe_says(photo_folder: Path) -> None:
    recipe = LARGE.replace(ramp_from=64, ramp_epochs=(0.0, 2.0), ramp_multiple=4)
    with tench.loader(photo_folder, "train", recipe, device="cpu") as loader:
        assert [next(loader.epoch(epoch)).images.shape[-1] for epoch in (0, 1, 2, 0)] == [64, 68, 72, 64]


def test_normalise_matches_torchvision(photo_folder: Path) -> None:
    import_torchvision()
    from torchvision.transforms.functional import normalize

    with tench.loader(photo_folder, "val", SMALL, device="cpu") as loader:
        images, _, _ = next(loader.epoch(0))
        view = loader.recipe.input
        torch.testing.assert_close(loader.normalise(images), normalize(images / 255, view.mean, view.std))


def test_mix_erases_and_mixes_as_the_recipe_says_and_is_logged(
    photo_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tench")
    with tench.loader(photo_folder, "train", SMALL.replace(cutmix=1.0), device="cpu") as loader:
        images, labels, _ = next(loader.epoch(0))
        inputs = loader.normalise(images)
        mixed, targets = loader.mix(inputs.clone(), labels, step=0)
        assert targets.shape == (4, 3)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        assert not torch.equal(mixed, inputs)
    note = "Note: the recipe erases or mixes images. Apply loader.mix(images, labels, step) to normalised images."
    assert note in caplog.messages
    with tench.loader(photo_folder, "train", SMALL, device="cpu") as loader:
        same_images, same_labels = loader.mix(inputs, labels, step=0)
        assert same_images is inputs
        assert same_labels is labels
    assert caplog.messages.count(note) == 1


def test_a_recipe_may_be_a_name_a_path_or_an_object(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("input:\n  image_size: 24\ntraining:\n  batch_size: 7\n")
    for recipe in (tmp_path / "mine.yaml", str(tmp_path / "mine.yaml"), tench.load_recipe(str(tmp_path / "mine.yaml"))):
        with tench.loader(photo_folder, "train", recipe, device="cpu") as loader:
            assert next(loader.epoch(0)).images.shape == (7, 3, 24, 24)
    with tench.loader("digits", device="cpu") as loader:
        assert loader.recipe.schedule == tench.load_recipe("digits").schedule


def test_leaving_the_loop_early_leaves_no_thread_behind(photo_folder: Path) -> None:
    before = threads()
    loader = tench.loader(photo_folder, "train", LARGE, device="cpu", threads=2)
    for _ in loader.epoch(0):
        break
    assert threads() - before
    assert same(loader.epoch(0), loader.epoch(0)) == 4
    with pytest.raises(TypeError):
        sum(loader.epoch(0))  # type: ignore[arg-type]  # fails at the first batch
    loader.close()
    loader.close()
    assert threads() == before


def test_an_unreferenced_loader_stops_its_threads(photo_folder: Path) -> None:
    before = threads()
    for _ in tench.loader(photo_folder, "train", LARGE, device="cpu", threads=2).epoch(0):
        break
    gc.collect()
    deadline = time.monotonic() + 60
    while threads() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == before


def test_the_error_about_a_closed_loader_says_so(photo_folder: Path) -> None:
    with tench.loader(photo_folder, "train", LARGE, device="cpu") as loader:
        pass
    with pytest.raises(UsageError) as error:
        loader.epoch(0)
    assert str(error.value) == "The loader is closed. Make a new one with tench.loader."


@pytest.mark.parametrize("recipe", ["digits", LARGE])
def test_an_iteration_over_a_loader_that_is_closed_meanwhile_is_an_error(
    photo_folder: Path, recipe: tench.Recipe | str
) -> None:
    source = "digits" if recipe == "digits" else photo_folder
    loader = tench.loader(source, "train", recipe, device="cpu")
    batches = loader.epoch(2)
    next(batches)
    loader.close()
    with pytest.raises(UsageError) as error:
        next(batches)
    assert str(error.value) == f"The loader was closed after 1 of the {len(loader)} batches of epoch 2."


@pytest.mark.parametrize("epoch", ["a", None, 1.5, True])
def test_an_epoch_that_is_not_a_number_is_refused(photo_folder: Path, epoch: object) -> None:
    with tench.loader(photo_folder, "train", LARGE, device="cpu") as loader, pytest.raises(UsageError) as error:
        loader.epoch(epoch)  # type: ignore[arg-type]
    assert str(error.value) == f"epoch must be a whole number, got {epoch!r}."


@pytest.mark.parametrize(("epoch", "step"), [(-1, 0), (0, -1), (0, 5)])
def test_a_step_outside_the_epoch_is_refused(photo_folder: Path, epoch: int, step: int) -> None:
    with tench.loader(photo_folder, "train", LARGE, device="cpu") as loader, pytest.raises(UsageError) as error:
        loader.epoch(epoch, step)
    assert str(error.value) == (
        f"epoch must be at least 0 and first_step 0 to 4, the number of batches in an epoch; got {epoch} and {step}."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "Give both rank and world_size, or neither; got 0 and None."),
        ({"world_size": 2}, "Give both rank and world_size, or neither; got None and 2."),
        ({"rank": 2, "world_size": 2}, "rank must be 0 to world_size - 1, got rank 2 and world_size 2."),
        ({"batch_size": 0}, "recipe: training.batch_size must be at least 1 and at most 1,000,000,000,000, got 0."),
    ],
)
def test_values_out_of_range_are_refused(photo_folder: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError) as error:
        tench.loader(photo_folder, "train", SMALL, **arguments)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_an_error_names_the_bad_image(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "photos")
    bad = tmp_path / "photos/train/roof/3.jpg"
    bad.write_bytes(bad.read_bytes()[:-400])
    with (
        tench.loader(tmp_path / "photos", "train", LARGE, device="cpu") as loader,
        pytest.raises(TenchError, match=f"{bad}: truncated JPEG"),
    ):
        list(loader.epoch(0))


def test_validation_batches_match_those_of_fit(photo_folder: Path) -> None:
    data = open_data(photo_folder, None, LARGE.input)
    resolved = resolve(LARGE, data.train, CPU)
    theirs = open_batches(
        data.val, eval_view(resolved), evaluation_order(data.val, 4), channels=3, device=CPU, threads=1
    )
    with tench.loader(photo_folder, "val", LARGE, device="cpu") as loader:
        assert same(loader.epoch(0), iter(theirs.batches(0))) == 2
    theirs.close()


@pytest.mark.parametrize("name", ["policy", "augment_batch"])
def test_a_recipe_that_names_code_is_refused_and_the_code_not_imported(photo_folder: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        tench.loader(photo_folder, "train", SMALL.replace(**{name: "no_such_package.module:function"}))
    assert str(error.value) == (
        f"The recipe names your own code, augment.{name}: no_such_package.module:function, which tench.loader does "
        "not import. Set it to none, and call your function on the batches yourself."
    )


def test_a_forked_process_can_use_a_loader_that_its_parent_iterates_over(photo_folder: Path) -> None:
    with tench.loader(photo_folder, "train", LARGE, device="cpu", threads=2) as loader:
        batches = loader.epoch(0)
        next(batches)
        fork = multiprocessing.get_context("fork")
        answers = fork.SimpleQueue()
        child = fork.Process(target=lambda: answers.put([batch.rows.tolist() for batch in loader.epoch(1)]))
        child.start()
        try:
            child.join(60)
            assert child.exitcode == 0
        finally:
            child.kill()
        assert answers.get() == [batch.rows.tolist() for batch in loader.epoch(1)]
