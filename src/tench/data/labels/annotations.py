"""Exports of annotation tools and benchmarks (COCO-style JSON, Label Studio, CVAT) as rows of an image and its label.

{"images": [{"id", "file_name"}], "annotations": [{"image_id", "category_id"}], "categories": [{"id", "name"}]}
    COCO, and classification sets in the same form: iNaturalist, iWildCam, Herbarium
[{"data": {"image": ...}, "annotations": [{"result": [{"type": "choices", "value": {"choices": [...]}}]}]}]
    Label Studio
<annotations><image name="..."><tag label="..."/></image></annotations>
    CVAT for images 1.1
"""

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from tench.data.formats.column_names import TAXONOMY
from tench.data.labels.markup import parse_xml
from tench.errors import TenchError, counted

_UPLOAD = re.compile(r"(?:.*/)?data/(?:upload/\d+/|local-files/\?d=)(.*)")
"""Where Label Studio serves an image: /data/upload/1/0f3c2a1b-cat.jpg, /data/local-files/?d=pets/cat.jpg."""


@dataclasses.dataclass(frozen=True)
class Entries:
    """Rows of an annotation file, as mappings from column names. told: class by label, in class order."""

    rows: Sequence[Mapping[str, Any]]
    told: Mapping[Any, str] | None = None
    notes: tuple[str, ...] = ()


def entries(data: Any, where: str) -> Entries | None:
    """The rows of a JSON value in one of these forms; None for any other. Raises TenchError if a part is missing."""
    if isinstance(data, dict) and isinstance(data.get("images"), list) and isinstance(data.get("annotations"), list):
        return _coco(data, where)
    if isinstance(data, list) and data and all(isinstance(task, dict) for task in data):
        if all(isinstance(task.get("data"), dict) for task in data):
            return _label_studio(data, where)
        if any("choice" in task for task in data):  # Label Studio's short form
            return Entries([_with_image(task) for task in data])
    return None


def _coco(data: Mapping[str, Any], where: str) -> Entries:
    try:
        images = {image["id"]: str(image["file_name"]) for image in data["images"]}
        categories = {one["id"]: one for one in data.get("categories") or ()}
        rows: list[dict[str, Any]] = []
        labelled = set()
        boxed = 0
        for number, one in enumerate(data["annotations"]):
            if "category_id" not in one:
                continue
            image, category = one["image_id"], one["category_id"]
            if image not in images:
                raise TenchError(
                    f"{where}: annotation {number} refers to the image {image!r}, which is not among the file's "
                    f"{len(images):,} images. Export or download the file again."
                )
            if categories and category not in categories:
                raise TenchError(
                    f"{where}: annotation {number} refers to the category {category!r}, which is not among the file's "
                    f"{len(categories):,} categories. Export or download the file again."
                )
            boxed += bool(one.get("bbox") or one.get("segmentation"))
            if (image, category) in labelled:  # several objects of one class
                continue
            labelled.add((image, category))
            more = {key: categories[category][key] for key in TAXONOMY if key in categories.get(category, {})}
            rows.append({"file_name": images[image], "label": category, **more})
        seen = {image for image, _ in labelled}
        without = [{"file_name": name, "label": None} for image, name in images.items() if image not in seen]
        names = [str(one["name"]) for one in categories.values()]
        ids = names if len(set(names)) == len(names) else [f"{number} {one}" for number, one in enumerate(names)]
        told = dict(zip(categories, ids, strict=True)) if categories else None
    except (KeyError, TypeError, AttributeError) as error:
        raise TenchError(
            f"{where} has `images` and `annotations` as COCO does, but an entry lacks {error}. Images need `id` and "
            "`file_name`, annotations `image_id` and `category_id`, categories `id` and `name`."
        ) from None
    notes = [f"{where}: only the categories of boxes and outlines are used."] if boxed else []
    return Entries(*_labelled(rows, without, where, told, notes))


def _label_studio(tasks: Sequence[Mapping[str, Any]], where: str) -> Entries | None:
    rows: list[dict[str, Any]] = []
    several = 0
    for number, task in enumerate(tasks, 1):
        image = next((value for value in task["data"].values() if isinstance(value, str)), None)
        image = task["data"].get("image", image)
        done = [one for one in task.get("annotations", task.get("completions", ())) or () if isinstance(one, dict)]
        done = [one for one in done if not one.get("was_cancelled")]
        if not isinstance(image, str):
            return None
        choices: list[list[str]] = []
        for one in done:
            results = [result for result in one.get("result") or () if isinstance(result, dict)]
            values = [result.get("value") for result in results if result.get("type") in ("choices", "taxonomy")]
            chosen = [name for value in values if isinstance(value, dict) for name in value.get("choices") or ()]
            if any(not isinstance(name, str) for name in chosen):
                raise TenchError(f"{where}, task {number}: the choices are not text. Export the project again.")
            if chosen:
                choices.append(chosen)
        if any(other != choices[0] for other in choices):
            several += 1
        rows.append({"image": _image_of(image), "label": choices[0] if choices else None})
    notes = (
        [f"{where}: annotators disagree about {counted(several, 'image')}; the first choice is used."]
        if several
        else []
    )
    labelled = [row for row in rows if row["label"]]
    return Entries(*_labelled(labelled, [row for row in rows if not row["label"]], where, None, notes))


def _labelled(
    rows: list[dict[str, Any]],
    without: list[dict[str, Any]],
    where: str,
    told: Mapping[Any, str] | None,
    notes: list[str],
) -> tuple[list[dict[str, Any]], Mapping[Any, str] | None, tuple[str, ...]]:
    """The rows with labels, or all rows if none has one: tools also export images that are not labelled yet."""
    if rows and without:
        notes = [*notes, f"{where}: left out {counted(len(without), 'image')} without a label."]
    return rows or without, told, tuple(notes)


def _with_image(task: Mapping[str, Any]) -> Mapping[str, Any]:
    choice = task.get("choice")
    if isinstance(choice, dict):
        choice = choice.get("choices")
    image = task.get("image")
    return {**task, "image": _image_of(image) if isinstance(image, str) else image, "choice": choice}


def _image_of(url: str) -> str:
    match = _UPLOAD.fullmatch(url)
    return urllib.parse.unquote(match[1] if match else url)


def cvat_entries(data: bytes, where: str) -> Entries | None:
    """The tags of images in CVAT's XML; None if the file is other XML."""
    rows: list[dict[str, Any]] = []
    subsets = False
    root: list[str] = []
    other = 0

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal subsets, other
        if not root:
            root.append(tag)
        elif tag == "image" and "name" in attributes:
            subsets = subsets or "subset" in attributes
            rows.append({"image": attributes["name"], "label": [], "subset": attributes.get("subset")})
        elif tag == "tag" and rows and attributes.get("label"):
            rows[-1]["label"].append(attributes["label"])
        elif tag in ("box", "polygon", "polyline", "points", "mask", "ellipse", "cuboid"):
            other += 1

    parse_xml(data, where, start)
    if root != ["annotations"] or not rows:
        return None
    for row in rows:
        if not subsets:
            del row["subset"]
    notes = [f"{where}: only the tags of images are used, not boxes and outlines ({other:,})."] if other else []
    labelled = [row for row in rows if row["label"]]
    without = [{**row, "label": None} for row in rows if not row["label"]]
    return Entries(*_labelled(labelled, without, where, None, notes))
