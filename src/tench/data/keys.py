"""An image's key: the same for the same image, whatever archive, folder or list it comes from.

It is `CLASS/FILE`, as in a class folder. A validation image that lies flat gets the key it would have in its class's
folder, so that an image has the same row in the archive as downloaded and in the tree unpacked from it.
"""

from collections.abc import Sequence


def keys_of(paths: Sequence[str], class_ids: Sequence[str | None]) -> list[str]:
    """The keys of images by their paths (with "/") and their class's id, None where that is unknown or a mere number.

    A path is taken from the folder named after the class on; where there is none, the class is put before the file's
    name. Where two images would get the same key, the paths themselves are all keys.
    """
    keys = [key_of(path, class_id) for path, class_id in zip(paths, class_ids, strict=True)]
    return keys if len(set(keys)) == len(keys) else list(paths)


def key_of(path: str, class_id: str | None) -> str:
    if class_id is None or path.startswith(f"{class_id}/"):
        return path
    start = path.find(f"/{class_id}/")
    return path[start + 1 :] if start >= 0 else f"{class_id}/{path.rpartition('/')[2]}"
