"""Two small networks for first experiments: a perceptron and LeNet.

Both flatten their features, so their size depends on the image size. Published numbers are for 28 px and one channel.
Source: MXNet, example/image-classification/symbols/{mlp,lenet}.py.
"""

from torch import nn

from tench.models.initialise import initialise_by


def mlp(num_classes: int, image_size: int, channels: int) -> nn.Module:
    """Two hidden layers of 128 and 64 units: (B, channels, S, S) -> (B, num_classes)."""
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * image_size * image_size, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )
    initialise_by(network, "mxnet")
    return network


def lenet(num_classes: int, image_size: int, channels: int) -> nn.Module:
    """LeNet with tanh: (B, channels, S, S) -> (B, num_classes). Raises ValueError below 16 px."""
    map_size = ((image_size - 4) // 2 - 4) // 2  # twice a 5x5 convolution without padding and a 2x2 pooling
    if map_size < 1:
        raise ValueError("LeNet's two 5x5 convolutions and two poolings need at least 16 px")
    network = nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * map_size * map_size, 500),
        nn.Tanh(),
        nn.Linear(500, num_classes),
    )
    initialise_by(network, "mxnet")
    return network
