"""A checkpoint that Lightning's Trainer writes, of a module with a network, a weighted loss and a buffer.

    python lightning_checkpoint.py FOLDER

Writes `last.ckpt`, and `weights.pth`, the network's own state dict.
"""

import json
import os
import sys

import lightning
import torch
import torchvision


class Module(lightning.LightningModule):
    def __init__(self, lr, options):
        super().__init__()
        self.save_hyperparameters()
        self.net = torchvision.models.resnet18(num_classes=3)
        self.criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("confusion", torch.zeros(3, 3))

    def training_step(self, batch, index):
        images, labels = batch
        return self.criterion(self.net(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def main():
    (folder,) = sys.argv[1:]
    images = torch.utils.data.TensorDataset(torch.randn(8, 3, 64, 64), torch.arange(8) % 3)
    trainer = lightning.Trainer(max_epochs=1, logger=False, accelerator="cpu", default_root_dir=folder)
    module = Module(0.01, {"depth": 18})
    trainer.fit(module, torch.utils.data.DataLoader(images, 4))
    trainer.save_checkpoint(os.path.join(folder, "last.ckpt"))
    torch.save(module.net.state_dict(), os.path.join(folder, "weights.pth"))
    print(json.dumps("written"))


if __name__ == "__main__":
    main()
