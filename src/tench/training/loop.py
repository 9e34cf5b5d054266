"""The epochs of a training: the steps of one, its validation, and what is saved at its end."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tench.errors import TenchError, counted
from tench.evaluation.measure import Metrics, measure
from tench.input.device import on_device
from tench.input.loader import Batch
from tench.models.own_network import checked_network
from tench.run import Run
from tench.training.callbacks import Callback, EpochEnd, call
from tench.training.freezing import Freezing
from tench.training.live import Live
from tench.training.loss import Loss
from tench.training.options import TrainOptions
from tench.training.plan import Batches
from tench.training.recipe import Resolved
from tench.training.schedule import num_epochs, total_steps
from tench.training.state import State, all_finite
from tench.training.step import BatchStep, read_totals, train_step
from tench.training.stopping import StoppedError
from tench.weights.images import Recorder
from tench.weights.own import ModelCard, Normalise, save
from tench.weights.test_time import at_test_time

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True)
class Loop:
    """What all epochs share. Whatever changes is in `state`."""

    run: Run
    recipe: Resolved
    num_classes: int
    state: State
    lr_at: Callable[[int], float]
    freeze: Freezing
    normalise: Normalise
    augment: BatchStep
    loss_of: Loss
    step_errors: Callable[[], AbstractContextManager[None]]
    """Names the user's network in an error of a step."""
    options: TrainOptions
    stop_asked: Callable[[], bool]
    live: Live
    images: Recorder
    callbacks: Sequence[Callback]
    continue_with: str
    """How to continue the run, for messages."""

    def train_epoch(self, train: Batches, epoch: int) -> None:
        """Take the remaining steps of an epoch, counted from 0. The last epoch may be cut short (epochs: 9.9)."""
        state, run = self.state, self.run
        before = epoch * train.steps_per_epoch
        first = state.step - before
        count = min(train.steps_per_epoch, total_steps(self.recipe, train.steps_per_epoch) - before)
        state.module.train()
        saved_at = logged_at = time.monotonic()
        num_images, waited = 0, 0.0  # since the last log line

        def rows_of(step: int) -> list[int]:
            rows: list[int] = train.order.rows(epoch, step - before).tolist()
            return rows

        size = min(self.recipe.training.batch_size, train.order.num_rows)
        with self.live.epoch(epoch, first, size) as line:
            batches = on_device(train.batches(epoch, first), state.totals.device)
            for _ in range(first, count):
                asked = time.monotonic()
                batch = next(batches)
                waited_now = time.monotonic() - asked
                waited += waited_now
                lr = self.lr_at(state.step)
                self.freeze(state.step)
                with self.step_errors():
                    train_step(state, batch, lr, self.recipe, self.normalise, self.augment, self.loss_of)
                state.step += 1
                num_images += len(batch.rows)
                line.step(len(batch.rows), lr, waited_now)
                now = time.monotonic()
                if state.step % self.options.log_every == 0:
                    loss, top1, _ = read_totals(state, rows_of)  # waits for the device
                    line.measured(loss, top1)
                    now = time.monotonic()
                    run.log(
                        kind="step",
                        step=state.step,
                        epoch=epoch + 1,
                        lr=lr,
                        train_loss=loss,
                        train_top1=top1,
                        images_per_second=num_images / (now - logged_at),
                        wait_share=waited / (now - logged_at),
                    )
                    logged_at, num_images, waited = now, 0, 0.0
                stop = self.stop_asked()  # asked once, so that a signal never stops the training without saving first
                if stop or now - saved_at > self.options.save_every_seconds:
                    read_totals(state, rows_of)
                    self._save()
                    saved_at = now
                if stop:
                    raise self._stopped()
        read_totals(state, rows_of)

    def validate(self, val: Batches) -> Metrics:
        """The metrics of the network that is evaluated: the average if there is one, with test-time augmentation."""
        size, num_images = self.recipe.input.image_size, len(val.table)
        checked = checked_network(self.state.evaluated, self.recipe.model.arch, self.num_classes)
        network = at_test_time(checked, self.recipe.input.test_time, size=size)
        with self.live.validation(num_images) as counted:
            return measure(network, counted(self._until_stopped(val.batches(epoch=0))), num_images, self.normalise)

    def _until_stopped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.stop_asked():
                self._save()
                raise self._stopped()
            yield batch

    def _stopped(self) -> StoppedError:
        return StoppedError(
            f"Stopped after step {self.state.step}; a checkpoint is saved. Continue with: {self.continue_with}"
        )

    def _save(self) -> None:
        """Save all that resuming needs. Raises TenchError if the weights are not finite: no later step repairs them."""
        if not all_finite(self.state.module):
            raise TenchError(
                f"{self.run.folder}: weights are not finite after step {self.state.step}, although the loss was. The "
                "last checkpoint is kept. Try a lower learning rate, --clip-norm 1 or --precision fp32."
            )
        self.images.save()
        self.run.save_checkpoint(self.state.to_dict(self.recipe.model.arch))

    def finish_epoch(self, epoch: int, card: ModelCard, metrics: Metrics | None, val_name: str) -> bool:
        """Log the epoch, keep the best weights, save a checkpoint, call the callbacks. metrics: of the validation.

        Returns whether a callback has stopped the training.
        """
        state, run = self.state, self.run
        loss, top1, images = read_totals(state)
        if metrics is not None:
            self._validated(epoch, card, metrics, val_name, top1, images)
        state.count_seconds()
        record = {"lr": self.lr_at(state.step - 1), "train_loss": loss, "train_top1": top1}
        if metrics is not None:
            record |= {
                "val_loss": metrics.loss,
                "val_top1": metrics.top1,
                "val_top5": metrics.top5,
                "val_images": metrics.images,
            }
        record["seconds"] = state.seconds
        run.log(kind="epoch", step=state.step, epoch=epoch + 1, **record)
        run.write_table()
        state.totals.zero_()
        state.epochs = epoch + 1
        self._save()
        epochs = num_epochs(self.recipe)
        val = (
            ""
            if metrics is None
            else f"   val loss {metrics.loss:.4f}  val top-1 {100 * metrics.top1:6.2f} %"
            f"  ({counted(metrics.images, 'image')})"
        )
        _log.info(
            "epoch %*d/%d  loss %.4f  top-1 %6.2f %%%s  lr %.4g  %.1f s",
            len(str(epochs)),
            epoch + 1,
            epochs,
            loss,
            100 * top1,
            val,
            record["lr"],
            record["seconds"],
        )
        best = {} if metrics is None else {"epoch": epoch + 1, **metrics.to_json()}
        end = EpochEnd(
            run=run,
            epoch=epoch + 1,
            epochs=epochs,
            step=state.step,
            metrics=record,
            _module=state.evaluated,
            _card=dataclasses.replace(card, metrics=best),
        )
        stopped = call(self.callbacks, end)
        if stopped is None or epoch + 1 == epochs:
            return False
        _log.info(
            "Stopped after epoch %d of %d by the callback %s. Continue with: %s",
            epoch + 1,
            epochs,
            stopped,
            self.continue_with,
        )
        return True

    def _validated(
        self, epoch: int, card: ModelCard, metrics: Metrics, val_name: str, train_top1: float, images: int
    ) -> None:
        """Save the weights if they are the best so far. Raises TenchError for metrics that show a fault."""
        state, best = self.state, self.state.best
        if not math.isfinite(metrics.loss):
            raise TenchError(
                f"{self.run.folder}: the validation loss after epoch {epoch + 1} is not finite. "
                "Nothing of this epoch was saved. Try a lower learning rate or --precision fp32."
            )
        is_average = state.evaluated is not state.module
        _refuse_chance(metrics, train_top1, images, val_name, 0.0 if best is None else best["top1"], is_average)
        if best is None or (metrics.top1, -metrics.loss) > (best["top1"], -best["loss"]):
            self.images.save()  # before the weights that were trained on these images
            state.best = {"epoch": epoch + 1, "top1": metrics.top1, "top5": metrics.top5, "loss": metrics.loss}
            save(self.run.folder, state.evaluated, dataclasses.replace(card, metrics=dict[str, Any](state.best)))


def _refuse_chance(
    metrics: Metrics, train_top1: float, train_images: int, val_name: str, best_top1: float, is_average: bool
) -> None:
    """Raise TenchError if validation is at chance although the network has learned the training images.

    The validation labels then probably do not match the images. At chance means within three standard deviations of
    always guessing the most frequent class, in this and every earlier epoch. With fewer than 100 images, no error is
    raised. is_average: the evaluated weights are an average, which may still be dominated by the initial ones.
    """
    largest = max(count for count, _ in metrics.per_class) / metrics.images
    deviation = math.sqrt(largest * (1 - largest) / metrics.images)
    knows_training = train_top1 > 0.5 and train_top1 > 2 * largest
    is_chance = max(metrics.top1, best_top1) < largest + 3 * deviation
    if knows_training and is_chance and len(metrics.per_class) > 2 and min(train_images, metrics.images) >= 100:
        average = (
            "The average of the weights was validated, and the initial weights may still dominate it: lower "
            "--average-decay. Or: "
        )
        raise TenchError(
            f"{val_name}: top-1 is {metrics.top1:.1%} on {metrics.images} images, no better than guessing "
            f"({largest:.1%}), while it is {train_top1:.1%} on the training images. "
            f"{average if is_average else ''}The validation labels probably do not match the images: check the "
            "order of the label file and the class numbering (tench info SOURCE)."
        )
