"""Objects of a COCO file: boxes in pixels, a list of images and a list of categories (Lin 2014)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.steps.detection.drawn import Drawn, Told
from hounsfield.steps.detection.image_names import ImageNames, require_some

__all__ = ["marks_of_coco"]


def marks_of_coco(path: Path, index: Index) -> Told:
    """Boxes [x, y, width, height] of pictures found by file_name; an annotation with iscrowd is excluded.

    x and y are the upper left corner in pixels, the corner of the first pixel (0, 0). A listed image without
    an annotation has none; classes are the categories, in the file's order. Raises BadInput for a file of
    another form, for images of another size than listed, for volumes.
    """
    held = _loaded(path)
    names = ImageNames(index)
    series_of: dict[Any, Series] = {}
    missing: list[str] = []
    resized = 0
    for image in held["images"]:
        series = names.one(str(image["file_name"]))
        if series is None:
            missing.append(str(image["file_name"]))
            continue
        series_of[image["id"]] = series
        said = (image.get("height"), image.get("width"))
        resized += None not in said and said != series.shape[1:]
    _require_pictures(path, list(series_of.values()), resized)
    notes = require_some(len(series_of), missing, what=path.name, index=index)
    listed = {image["id"] for image in held["images"]}
    categories = {c["id"]: str(c["name"]).strip() for c in held["categories"]}
    told = held["annotations"]
    stray = sum(a["image_id"] not in listed or a["category_id"] not in categories for a in told)
    if stray:
        raise BadInput(
            f"{stray} annotation(s) of {path.name} belong to an image or a category that it does not list; "
            "expected each in images and categories; export it again"
        )
    objects = [
        _drawn(series_of[a["image_id"]], categories[a["category_id"]], a)
        for a in told
        if a["image_id"] in series_of
    ]
    images = frozenset(s.id for s in series_of.values())
    return Told(tuple(objects), images, notes, tuple(categories.values()))


def _loaded(path: Path) -> dict[str, list[dict[str, Any]]]:
    expected = {
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id", "bbox"),
        "categories": ("id", "name"),
    }
    try:
        held = json.loads(path.read_bytes())
        for part, keys in expected.items():
            lacking = [key for entry in held[part] for key in keys if key not in entry]
            if lacking:
                raise BadInput(
                    f"{len(lacking)} entries of {part} in {path.name} have no {lacking[0]}; expected COCO's "
                    "form; export it again"
                )
        for a in held["annotations"]:
            _, _, _, _ = (float(v) for v in a["bbox"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path.name} is not a COCO file; expected JSON with the lists images (id, file_name), "
            "annotations (image_id, category_id, bbox of four numbers) and categories (id, name)"
        ) from error
    return {part: held[part] for part in expected}


def _require_pictures(path: Path, found: list[Series], resized: int) -> None:
    volumes = sum(not s.is_flat for s in found)
    if volumes:
        raise BadInput(
            f"{path.name} draws boxes in {volumes} volume(s); COCO's boxes lie in pictures; give world "
            "coordinates or masks for volumes"
        )
    if resized:
        raise BadInput(
            f"{resized} of {len(found)} images have another height or width than {path.name} says; expected "
            "the images that the boxes were drawn on"
        )


def _drawn(series: Series, name: str, annotation: dict[str, Any]) -> Drawn:
    x, y, wide, high = (float(v) for v in annotation["bbox"])
    return Drawn(
        series.id,
        name,
        (0.0, y + high / 2 - 0.5, x + wide / 2 - 0.5),
        (1.0, high, wide),
        excluded=bool(annotation.get("iscrowd") or annotation.get("ignore")),
    )
