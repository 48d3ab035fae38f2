"""Four hospitals of the phantom: patches of mammograms from four units, of other sizes and shares of cancer.

They are made to learn together: each unit has its own tone curve, dose and sharpness, one hospital is small,
and one sees three times as many cancers as another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hounsfield.applications.mammography.acquisition import SCANNERS, Scanner, take_picture
from hounsfield.applications.mammography.anatomy import VIEWS, sample_breasts, sample_density
from hounsfield.applications.mammography.grid import Grid
from hounsfield.applications.mammography.lesions import sample_lesion
from hounsfield.applications.phantom_files import write_whole

__all__ = ["HOSPITALS", "Hospital", "write_hospitals"]

_GRID = Grid(rows=208, columns=160, spacing_mm=0.9)
_SIDE = 32
_BENIGN = 0.3
"""So many of the women without a cancer have a benign mass where the patch is cut; the others have none."""


@dataclass(frozen=True)
class Hospital:
    """A name, how many women, the share of them with a cancer, and the mammography unit."""

    name: str
    patients: int
    share_malignant: float
    scanner: Scanner


def _unit(like: str, **changed: float) -> Scanner:
    return replace(SCANNERS[like], grid=_GRID, **changed)  # type: ignore[arg-type]


HOSPITALS: tuple[Hospital, ...] = (
    Hospital("north", 240, 0.5, _unit("A")),
    Hospital("south", 180, 0.35, _unit("B")),
    Hospital("east", 150, 0.6, _unit("A", gamma=0.6, photons=6.0e3, mtf_blur_mm=0.9)),
    Hospital("west", 80, 0.25, _unit("B", gamma=2.2, steepness=7.0, photons=1.2e4)),
)
"""The usual four: "west" is small and sees few cancers."""


def write_hospitals(out: Path, *, hospitals: tuple[Hospital, ...] = HOSPITALS, seed: int = 0) -> Path:
    """Write 32 x 32 patches as PNG, and labels.csv (file, patient, site, scanner, malignant); its path.

    A woman gives one patch: about her mass, or about a place where one might have been. Names of patients
    begin with PHANTOM. The same arguments write the same bytes.

    >>> import tempfile
    >>> few = (replace(HOSPITALS[0], patients=2), replace(HOSPITALS[3], patients=1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     len(write_hospitals(Path(folder), hospitals=few).read_text().splitlines())
    4
    """
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    lines = ["file,patient,site,scanner,malignant"]
    for number, hospital in enumerate(hospitals):
        for woman in range(hospital.patients):
            rng = np.random.default_rng([seed, 7, number, woman])
            malignant = woman < round(hospital.patients * hospital.share_malignant)
            name = f"{hospital.name}-{woman:04d}"
            Image.fromarray(_patch(rng, hospital.scanner, malignant=malignant)).save(out / f"{name}.png")
            unit = hospital.scanner.model.lower().replace(" ", "-")
            lines.append(f"{name}.png,PHANTOM-{name},{hospital.name},{unit},{int(malignant)}")
    write_whole(out / "labels.csv", ("\n".join(lines) + "\n").encode())
    return out / "labels.csv"


def _patch(rng: np.random.Generator, scanner: Scanner, *, malignant: bool) -> npt.NDArray[np.uint8]:
    """The surroundings (32, 32) of a mass, or of where one would have been, in eight bits."""
    breast = sample_breasts(rng, density=sample_density(rng, age=int(rng.integers(45, 75))))[
        int(rng.integers(2))
    ]
    lesion = sample_lesion(rng, breast, malignant=malignant)
    view = VIEWS[int(rng.integers(len(VIEWS)))]
    held = malignant or rng.random() < _BENIGN
    placed = take_picture(breast, lesion, view, scanner)
    shown = placed if held else take_picture(breast, None, view, scanner)
    if placed.lesion_row is None or placed.lesion_column is None:
        raise RuntimeError("a picture of a lesion that does not say where it lies")
    padded = np.pad(shown.pixels, _SIDE)
    jitter = rng.integers(-3, 4, 2)
    row, column = (
        round(x) + int(j) for x, j in zip((placed.lesion_row, placed.lesion_column), jitter, strict=True)
    )
    top, left = row + _SIDE // 2, column + _SIDE // 2
    cut = padded[top : top + _SIDE, left : left + _SIDE].astype(np.float64)
    return np.rint(255 * cut / scanner.highest).astype(np.uint8)
