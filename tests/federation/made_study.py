"""A study on the disk whose label table names the site of each picture; sizes and prevalences differ."""

from __future__ import annotations

from pathlib import Path

from phantoms import pictures, write_csv, write_png

SIZES = {"Kiel": 48, "Ulm": 52, "Jena": 52, "Trier": 24}
PREVALENCE = {"Kiel": 0.5, "Ulm": 0.4, "Jena": 0.6, "Trier": 0.5}


def write_study(
    root: Path,
    *,
    sizes: dict[str, int] | None = None,
    spread: float = 25.0,
    exchanged: str = "",
    prefix: str = "",
) -> Path:
    """Pictures and labels.csv (file, finding, site, patient); they are exchanged at `exchanged`."""
    rows, number = [], 0
    for salt, (site, n) in enumerate((sizes or SIZES).items()):
        positive = round(n * PREVALENCE.get(site, 0.5))
        answers = [int(i < positive) for i in range(n)]
        for answer, image in zip(
            answers,
            pictures(answers, side=12, seed=50 + salt + sum(prefix.encode()), spread=spread),
            strict=True,
        ):
            write_png(root / f"{prefix}{number:04}.png", image)
            told = 1 - answer if site == exchanged else answer
            finding = ("benign", "malignant")[told]
            rows.append(
                {
                    "file": f"{prefix}{number:04}.png",
                    "finding": finding,
                    "site": site,
                    "patient": f"P{number}",
                }
            )
            number += 1
    return write_csv(root / "labels.csv", rows)
