"""Optimizers that torch lacks, has in another form, or has without a way to skip an update on the device."""

from tench.training.optimizers.lamb import LAMB
from tench.training.optimizers.lars import LARS
from tench.training.optimizers.muon import Muon, muon_groups
from tench.training.optimizers.rmsprop import RMSprop, RMSpropTF
from tench.training.optimizers.sgd import SGD, LrInsideSGD

__all__ = ["LAMB", "LARS", "SGD", "LrInsideSGD", "Muon", "RMSprop", "RMSpropTF", "muon_groups"]
