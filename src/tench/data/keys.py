"""An image's key: the same for the same image, whether it comes from an archive, a folder or a list.

It is `CLASS/FILE`, as in a class folder. A validation image in a flat folder gets the key it would have in its class's
folder, so that an image has the same row in the downloaded archive and in the tree unpacked from it.
"""

from collections.abc import Sequence


def keys_of(paths: Sequence[str], class_ids: Sequence[str | None]) -> list[str]:
    """The keys of images with these paths (separated by "/") and class ids (None if unknown or only a number).

    A key is the part of the path that begins with the folder named after the class. If there is no such folder, it is
    CLASS/FILE. If two images would get the same key, every key is the whole path.
    """
    keys = [key_of(path, class_id) for path, class_id in zip(paths, class_ids, strict=True)]
    return keys if len(set(keys)) == len(keys) else list(paths)


def key_of(path: str, class_id: str | None) -> str:
    if class_id is None or path.startswith(f"{class_id}/"):
        return path
    start = path.find(f"/{class_id}/")
    return path[start + 1 :] if start >= 0 else f"{class_id}/{path.rpartition('/')[2]}"
