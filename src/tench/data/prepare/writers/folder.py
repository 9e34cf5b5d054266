"""Class folders, `train/CLASS/FILE`, as torchvision's ImageFolder and most programs read them.

Images without labels go into `SPLIT/images`. `classes.txt` contains the order and the names of the classes; other
programs ignore it and sort the folders.
"""

from collections.abc import Mapping, Sequence

from tench.data.formats.class_files import text_of
from tench.data.prepare.writers import Content


class FolderWriter:
    """A file for each image."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def path(self, split: str, name: str) -> str:
        return f"{split}/{name}"

    def files_beside(self) -> Mapping[str, str]:
        return text_of(self._content.classes) or numbered_classes(self._content)

    def folders(self) -> Sequence[str]:
        defining = next(iter(self._content.names))  # readers take the classes from the folders of the first split
        return [f"{defining}/{class_id}" for class_id in self._content.classes.ids]


def numbered_classes(content: Content) -> Mapping[str, str]:
    """A list of classes that have only numbers. Without it, readers sort folder 10 before folder 2."""
    return {"classes.txt": "".join(f"{number}\t{number}\n" for number in range(len(content.classes)))}
