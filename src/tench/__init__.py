"""tench: from the archive you downloaded to a trained, checked, shipped image classifier."""

__version__ = "0.1.0"
