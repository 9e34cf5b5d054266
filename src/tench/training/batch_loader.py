"""The input pipeline of `fit` for use in other training loops: the same batches, without the training."""

import logging
import os
import weakref
from collections.abc import Generator
from pathlib import Path

import torch

from tench.arguments import checked_arguments
from tench.data import exif, policy
from tench.data.source import Source, open_source
from tench.data.table import Classes, Dataset, Table
from tench.errors import UsageError, counted
from tench.evaluation.measure import evaluation_order
from tench.input.device import on_device
from tench.input.loader import Batch
from tench.input.order import Order
from tench.input.views import View
from tench.machine import choose_device, num_threads
from tench.own_code import names_code
from tench.training.fit import default_recipe
from tench.training.plan import Batches, open_batches, open_data, resolve, train_order
from tench.training.recipe import Recipe, Resolved
from tench.training.recipe_file import as_recipe, checked
from tench.training.recipe_views import eval_view, make_normalise, on_batch, train_view
from tench.training.step import part_size
from tench.weights.own import Normalise
from tench.weights.start import starting_weights

_log = logging.getLogger("tench")


class BatchLoader:
    """Batches of one split for your own training loop; made by `loader`. Close it, or use it in a `with`.

    `epoch(n)` yields the batches of epoch n. Iterating over the loader itself yields epoch 0 the first time, then epoch
    1, and so on, for programs that expect an iterable. `len(loader)` is the number of batches in an epoch. Reading
    ahead stops when the loop ends, including by `break` or an exception.

    >>> with tench.loader("digits", "train", "digits", batch_size=100, device="cpu") as loader:
    ...     for images, labels, rows in loader.epoch(0):
    ...         inputs = loader.normalise(images)
    >>> len(loader), loader.num_images, inputs.shape, inputs.dtype
    (14, 1438, torch.Size([100, 1, 8, 8]), torch.float32)
    """

    recipe: Resolved
    """The recipe with every `auto` resolved as `fit` resolves it for these images."""
    classes: Classes
    """The classes that the labels index."""
    table: Table
    """The images: `table.key(row)` is the name of one."""
    device: torch.device
    """The device that batches arrive on."""

    def __init__(
        self, recipe: Resolved, classes: Classes, table: Table, order: Order, device: torch.device, *, threads: int
    ) -> None:
        self.recipe, self.classes, self.table, self.device = recipe, classes, table, device
        self._order, self._threads, self._next_epoch = order, threads, 0
        self._augment = on_batch(recipe, order, len(classes))
        self._normalise: dict[torch.device, Normalise] = {}
        self._open: list[tuple[View, Batches]] = []
        self._close = weakref.finalize(self, _close, self._open)
        self._process, self._inherited = os.getpid(), list(self._open)

    def __len__(self) -> int:
        return self._order.steps_per_epoch

    @property
    def num_images(self) -> int:
        """The number of images of the split, over all ranks."""
        return len(self.table)

    @checked_arguments()
    def epoch(self, epoch: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch, starting at one of its steps. Both count from 0.

        An epoch is the same each time, for any number of threads, so a loop that was stopped resumes exactly. In a
        training epoch, images are shuffled and get new random views; the recipe decides whether an incomplete last
        batch is dropped. In an evaluation epoch, each image comes once. Raises UsageError for a step outside the epoch;
        while iterating, TenchError naming the image that cannot be read or decoded.
        """
        if epoch < 0 or not 0 <= first_step <= len(self):
            raise UsageError(
                f"epoch must be at least 0 and first_step 0 to {len(self)}, the number of batches in an epoch; "
                f"got {epoch} and {first_step}."
            )
        if not self._close.alive:
            raise UsageError("The loader is closed. Make a new one with tench.loader.")
        self._next_epoch = epoch + 1
        return self._batches(epoch, first_step)

    def __iter__(self) -> Generator[Batch, None, None]:
        return self.epoch(self._next_epoch)

    def _batches(self, epoch: int, first_step: int) -> Generator[Batch, None, None]:
        batches = self._source(epoch).batches(epoch, first_step)
        for step, batch in enumerate(on_device(batches, self.device), first_step + 1):
            yield batch
            if step < len(self) and not self._close.alive:
                raise UsageError(f"The loader was closed after {step} of the {len(self)} batches of epoch {epoch}.")

    def _source(self, epoch: int) -> Batches:
        """The batches at the size of an epoch: with progressive resizing, each size has its own loader."""
        if self._process != os.getpid():  # a forked process has no loader threads, and held locks stay held: reopen
            self._inherited = list(self._open)  # kept, because freeing them could wait for the parent's threads
            self._open.clear()
            self.table, self._process = self.table.reopened(), os.getpid()
        view = train_view(self.recipe, epoch) if self._order.shuffle else eval_view(self.recipe)
        if not self._open or self._open[0][0] != view:
            _close(self._open)
            opened = open_batches(
                self.table,
                view,
                self._order,
                channels=self.recipe.input.channels,
                device=self.device,
                threads=self._threads,
            )
            self._open.append((view, opened))
        return self._open[0][1]

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """The network's input: (images / 255 - mean) / std, float32, with the mean and std of the recipe.

        images: (B, C, H, W) uint8 on any device. The result has the same shape, on the same device.
        """
        if images.device not in self._normalise:
            self._normalise[images.device] = make_normalise(self.recipe, images.device)
        return self._normalise[images.device](images)

    def mix(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Erase and mix a training batch as the recipe asks: random erasing, mixup, cutmix.

        images: (B, C, H, W) float32, normalised. labels: (B,) int64. step: of the batch, counted from the start of the
        training: `epoch * len(loader) + step of the epoch`.

        Returns the images and the targets: (B, classes) float32 if the recipe mixes, else the labels. If the recipe
        uses none of the three, both are returned unchanged.
        """
        return self._augment(images, labels, step)

    def close(self) -> None:
        """Stop the threads and free the memory. A running iteration ends with an error."""
        self._close()

    def __enter__(self) -> "BatchLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(opened: list[tuple[View, Batches]]) -> None:
    while opened:
        opened.pop()[1].close()


@checked_arguments("recipe", "device")
def loader(
    source: Source,
    split: str = "train",
    recipe: Recipe | str | Path | None = None,
    *,
    batch_size: int | None = None,
    device: str | torch.device = "auto",
    threads: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> BatchLoader:
    """Open the fast input of `fit` for your own training loop.

    source: a path or name, several that form one dataset, or a `Dataset`. split: "train" yields the recipe's training
    views in training order, without the images that `fit` holds out; "val" yields the images that `fit` validates on
    (val, else a labelled test, else those held out of train) in the evaluation view; any other name yields that split
    in the evaluation view. recipe: the name of a packaged recipe, the path of a YAML file, or a `Recipe`; None: as in
    `fit`. Every `auto` in it is resolved as in `fit`. batch_size: images per step over all ranks; None: the recipe's.
    device: where batches arrive; auto is the GPU if there is one. threads: 0 means one per core. rank, world_size: this
    process and the number of processes that share each batch; None: the values of torch.distributed if it is
    initialised, else one process. In evaluation, each image comes once over all ranks, so a rank's last batch can be
    smaller than on other ranks, or empty; all ranks have the same number of batches.

    Raises UsageError for an unknown name or a value out of range, TenchError if the data cannot be used.

    >>> with tench.loader("digits", "train", batch_size=64, device="cpu") as loader:
    ...     for images, labels, rows in loader.epoch(0):
    ...         break
    >>> images.shape, images.dtype, labels.dtype
    (torch.Size([64, 1, 8, 8]), torch.uint8, torch.int64)
    """
    if recipe is None:
        recipe = default_recipe(None, source)
    recipe = as_recipe(recipe)
    if batch_size is not None:
        recipe = recipe.replace(batch_size=batch_size, accumulate=1)
    recipe = checked(recipe)
    _require_no_code(recipe)
    chosen, num_threads_ = choose_device(device), num_threads(threads)
    rank, world_size = _place(rank, world_size)
    dataset = open_source(source, recipe.source)
    data = open_data(dataset, None, recipe.input, threads=threads)
    start = starting_weights(recipe.model.weights) if recipe.model.weights else None
    resolved = resolve(recipe, data.train, chosen, start, exif=data.exif)
    data = data.oriented(resolved.input.exif)
    if split == "train":
        table, order = data.train, train_order(resolved, data.train, rank=rank, world_size=world_size)
    else:
        table = data.val if split == "val" else _other(dataset, split, resolved, num_threads_)
        size = part_size(resolved.training)
        order = evaluation_order(table, size, rank=rank, world_size=world_size)
    _require_share(order)
    made = BatchLoader(resolved, data.classes, table, order, chosen, threads=threads)
    if split == "train" and (recipe.mix.erasing or recipe.mix.mixup or recipe.mix.cutmix):
        _log.info(
            "Note: the recipe erases or mixes images. Apply loader.mix(images, labels, step) to normalised images."
        )
    return made


def _require_no_code(recipe: Recipe) -> None:
    """Raise UsageError if a recipe names code for the images; a recipe alone never causes an import."""
    for name in ("policy", "augment_batch"):
        value = getattr(recipe.augment, name)
        if names_code(value):
            raise UsageError(
                f"The recipe names your own code, augment.{name}: {value}, which tench.loader does not import. Set it "
                "to none, and call your function on the batches yourself."
            )


def _other(dataset: Dataset, split: str, recipe: Resolved, threads: int) -> Table:
    """A split that is neither trained nor validated on."""
    dataset.split(split)
    dataset, _ = policy.apply(dataset, recipe.input.bad, [split], threads=threads)
    return exif.oriented(dataset.splits[split], recipe.input.exif)


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """(rank, world size) as given, else those of torch.distributed, else (0, 1)."""
    if rank is None and world_size is None:
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    if rank is None or world_size is None:
        raise UsageError(f"Give both rank and world_size, or neither; got {rank} and {world_size}.")
    if not 0 <= rank < world_size:
        raise UsageError(f"rank must be 0 to world_size - 1, got rank {rank} and world_size {world_size}.")
    return rank, world_size


def _require_share(order: Order) -> None:
    """Raise UsageError if a rank would have no image in a training step; its mean loss would be NaN."""
    if not order.shuffle or order.world_size == 1:
        return
    smallest = min(order.batch_size, order.num_rows)
    if not order.drop_last:
        smallest = min(smallest, order.num_rows - (order.steps_per_epoch - 1) * order.batch_size)
    if smallest < order.world_size:
        raise UsageError(
            f"A training batch of {counted(smallest, 'image')} cannot be shared by {order.world_size} processes. Use "
            "a larger batch_size, or set drop_last in the recipe if it is the last batch of an epoch."
        )
