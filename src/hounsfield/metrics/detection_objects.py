"""What a detector marks and what a reader drew: spheres in millimetres and boxes, each in its image.

An image is a whole number from 0; how many there are is said where something is counted by image, so that
images without any object count too. Corners of a box are half-open, as in COCO: the box of the voxels 3, 4
and 5 runs from 3 to 6 and is 3 wide. A finding that is `excluded` neither counts as a lesion nor makes the
candidates on it false positives (LUNA16's irrelevant findings, COCO's crowds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray

__all__ = ["Boxes", "Spheres", "check_images", "check_one_space"]


@dataclass(frozen=True, slots=True, eq=False)
class Spheres:
    """N spheres: centres (N, D) and diameters (N,) in mm, image, score and whether excluded (N,).

    The axes may come in any order that candidates and lesions share. A candidate without a size has the
    diameter 0; a lesion of unknown size a negative one.
    """

    centre_mm: FloatArray
    diameter_mm: FloatArray
    image: IntArray
    score: FloatArray
    excluded: BoolArray

    @classmethod
    def of(
        cls,
        centre_mm: npt.ArrayLike,
        diameter_mm: npt.ArrayLike,
        *,
        image: npt.ArrayLike,
        score: npt.ArrayLike | None = None,
        excluded: npt.ArrayLike | None = None,
    ) -> Spheres:
        """Checked spheres; without scores all are 1, as for lesions. Raises BadInput.

        >>> Spheres.of([[0.0, 0.0, 5.0]], [6.0], image=[0]).score.tolist()
        [1.0]
        """
        centres = _rows(centre_mm, "centres", (2, 3), "(N, 2) or (N, 3)")
        diameters = np.broadcast_to(_numbers(diameter_mm, "diameters"), (len(centres),))
        return cls(centres, diameters, *_told(len(centres), image, score, excluded))

    def __len__(self) -> int:
        return len(self.centre_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """N boxes: corners (N, 2 D), the lower ends of all axes before the upper; image, score, label (N,).

    `label` is the class, a whole number from 0.
    """

    corners: FloatArray
    image: IntArray
    score: FloatArray
    excluded: BoolArray
    label: IntArray

    @classmethod
    def of(
        cls,
        corners: npt.ArrayLike,
        *,
        image: npt.ArrayLike,
        score: npt.ArrayLike | None = None,
        label: npt.ArrayLike | None = None,
        excluded: npt.ArrayLike | None = None,
    ) -> Boxes:
        """Checked boxes in the plane (N, 4) or in space (N, 6). Raises BadInput.

        >>> Boxes.of([[0, 0, 4, 2]], image=[0]).sizes.tolist()
        [8.0]
        >>> Boxes.of([[0, 0, 0, 2]], image=[0])
        Traceback (most recent call last):
        ...
        hounsfield.core.errors.BadInput: 1 of 1 boxes have an upper corner that is not above the lower one; \
expected lower ends, then upper ends, half-open. Add 1 to the last voxel of inclusive boxes.
        """
        ends = _rows(corners, "corners", (4, 6), "(N, 4) in the plane or (N, 6) in space")
        axes = ends.shape[1] // 2
        flat = int(np.count_nonzero((ends[:, axes:] <= ends[:, :axes]).any(axis=1)))
        if flat:
            raise BadInput(
                f"{flat} of {len(ends)} boxes have an upper corner that is not above the lower one; expected "
                "lower ends, then upper ends, half-open. Add 1 to the last voxel of inclusive boxes."
            )
        classes = np.zeros(len(ends), np.intp) if label is None else _whole(label, len(ends), "label")
        return cls(ends, *_told(len(ends), image, score, excluded), classes)

    @property
    def sizes(self) -> FloatArray:
        """The area or volume (N,) of each box, in the square or cube of the corners' unit."""
        axes = self.corners.shape[1] // 2
        return np.asarray((self.corners[:, axes:] - self.corners[:, :axes]).prod(axis=1))

    def __len__(self) -> int:
        return len(self.corners)


def check_images(image: IntArray, *, images: int, what: str) -> None:
    """Raise BadInput unless all objects lie in one of the `images`.

    >>> check_images(np.array([0, 4]), images=4, what="lesions")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: lesions lie in image 4 of 4 images; expected images from 0 to 3.
    """
    if images < 1:
        raise BadInput(f"{images} images were given; expected at least one.")
    if len(image) and image.max() >= images:
        raise BadInput(
            f"{what} lie in image {image.max()} of {images} images; expected images from 0 to {images - 1}."
        )


def check_one_space(first: FloatArray, second: FloatArray) -> None:
    """Raise BadInput where one lies in the plane and the other in space; nothing at all fits either.

    >>> check_one_space(np.zeros((3, 4)), np.zeros((0, 6)))
    """
    if len(first) and len(second) and first.shape[1] != second.shape[1]:
        raise BadInput(
            f"candidates have {first.shape[1]} coordinates and lesions {second.shape[1]}; "
            "expected both in the plane, or both in space."
        )


def _rows(values: npt.ArrayLike, what: str, widths: tuple[int, ...], expected: str) -> FloatArray:
    array = _numbers(values, what)
    if array.size == 0:
        wide = array.shape[1] if array.ndim == 2 and array.shape[1] in widths else widths[-1]
        return np.zeros((0, wide))
    if array.ndim != 2 or array.shape[1] not in widths:
        raise BadInput(f"{what} have the shape {array.shape}; expected {expected}.")
    return np.ascontiguousarray(array)


def _numbers(values: npt.ArrayLike, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
    if wrong:
        raise BadInput(f"{wrong} of {array.size} numbers of {what} are not finite; expected none.")
    return array


def _told(
    count: int, image: npt.ArrayLike, score: npt.ArrayLike | None, excluded: npt.ArrayLike | None
) -> tuple[IntArray, FloatArray, BoolArray]:
    images = _whole(image, count, "image")
    scores = np.ones(count) if score is None else _numbers(score, "scores")
    out = np.zeros(count, np.bool_) if excluded is None else np.asarray(excluded, np.bool_)
    for values, what in ((scores, "scores"), (out, "excluded")):
        if values.shape != (count,):
            raise BadInput(
                f"{what} have the shape {values.shape} for {count} objects; expected one for each."
            )
    return images, scores, out


def _whole(values: npt.ArrayLike, count: int, what: str) -> IntArray:
    array = np.asarray(values)
    if array.size == 0:
        array = array.reshape(-1).astype(np.intp)
    if array.shape != (count,) or array.dtype.kind not in "iu" or (count and array.min() < 0):
        raise BadInput(
            f"{what} has the shape {array.shape} and the type {array.dtype} for {count} objects; "
            "expected one whole number from 0 for each."
        )
    return array.astype(np.intp, copy=False)
