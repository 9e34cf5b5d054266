"""Class folders, `train/CLASS/FILE`, as torchvision's ImageFolder and most programs read them.

Images without labels lie in `SPLIT/images`. The order and the names of the classes are in `classes.txt`, which other
programs need not know: they sort the folders.
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
        defining = next(iter(self._content.names))  # whose folders are the classes for a reader
        return [f"{defining}/{class_id}" for class_id in self._content.classes.ids]


def numbered_classes(content: Content) -> Mapping[str, str]:
    """A list of classes that are only numbers: as folders, 10 would come before 2."""
    return {"classes.txt": "".join(f"{number}\t{number}\n" for number in range(len(content.classes)))}
