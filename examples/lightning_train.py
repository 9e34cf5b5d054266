"""Train with Lightning on tench's input. Needs: pip install lightning.

    python lightning_train.py                                   the handwritten digits
    python lightning_train.py ~/flowers --arch resnet50 --epochs 30 --devices 4

The loaders are opened in `setup`, after Lightning has started its processes, so each reads its share of every batch.
"""

import argparse

import lightning
import torch
import torch.nn.functional as F

import tench


class Training(lightning.LightningModule):
    """A network, its loss, and the images of a dataset."""

    def __init__(self, source: str, arch: str | None, batch_size: int) -> None:
        super().__init__()
        self.dataset, self.arch, self.batch_size = tench.open_source(source), arch, batch_size

    def setup(self, stage: str) -> None:
        # Lightning moves batches to the device itself.
        self.train_batches = tench.loader(self.dataset, "train", batch_size=self.batch_size, device="cpu")
        self.val_batches = tench.loader(self.dataset, "val", batch_size=self.batch_size, device="cpu")
        recipe = self.train_batches.recipe
        seen = recipe.input
        self.model = tench.create_model(
            self.arch or recipe.model.arch, self.dataset.classes, image_size=seen.image_size, channels=seen.channels
        )

    def train_dataloader(self) -> tench.BatchLoader:
        return self.train_batches

    def val_dataloader(self) -> tench.BatchLoader:
        return self.val_batches

    def training_step(self, batch: tench.Batch, step: int) -> torch.Tensor:
        images, labels, _ = batch
        return F.cross_entropy(self.model(self.train_batches.normalise(images)), labels)

    def validation_step(self, batch: tench.Batch, step: int) -> None:
        images, labels, _ = batch
        correct = (self.model(self.val_batches.normalise(images)).argmax(1) == labels).sum()
        # A sum, not a mean of means: the last batch is smaller.
        self.log("correct", correct.float(), on_epoch=True, reduce_fx="sum", sync_dist=True, batch_size=len(labels))

    def on_validation_epoch_end(self) -> None:
        correct = self.trainer.callback_metrics["correct"].item()
        self.print(f"epoch {self.current_epoch + 1}  val top-1 {correct / self.val_batches.num_images:.2%}")

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
        steps = self.trainer.max_epochs * len(self.train_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def teardown(self, stage: str) -> None:
        self.train_batches.close()
        self.val_batches.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="digits", help="path of a dataset, or digits")
    parser.add_argument("--arch", help="a network that `tench models` lists; default: the recipe's")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64, help="global: for all devices together")
    parser.add_argument("--devices", type=int, default=1)
    asked = parser.parse_args()
    trainer = lightning.Trainer(
        max_epochs=asked.epochs,
        devices=asked.devices,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Training(asked.source, asked.arch, asked.batch_size))


if __name__ == "__main__":
    main()
