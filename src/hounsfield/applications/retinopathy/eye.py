"""The healthy eye: how dark its fundus is, where its disc lies, how its vessels wind; both eyes of a person
are alike, never the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hounsfield.applications.retinopathy.field import Eye

__all__ = ["Anatomy", "sample_anatomies"]


@dataclass(frozen=True)
class Anatomy:
    """One eye. `disc_mm` is the middle of the optic disc, its radii across and up follow.

    `pigment` is 0 (fair: the choroid shines through) to 1 (dark); `hue` is how much green it
    gives back beside the usual, `tessellation` says how much of the
    choroid's vessels is seen, `haze` how yellow and dull the lens makes the picture, `crescent` how much
    atrophy lies beside the disc, `reflex` how much the nerve fibres of a young eye shine.
    """

    eye: Eye
    disc_mm: tuple[float, float]
    disc_radii_mm: tuple[float, float]
    cup: float
    pigment: float
    hue: float
    tessellation: float
    haze: float
    crescent: float
    reflex: float
    tortuosity: float
    vessel_width: float
    arcade: float
    seed: tuple[int, ...]


def sample_anatomies(rng: np.random.Generator, *, age: int, seed: tuple[int, ...]) -> dict[Eye, Anatomy]:
    """Both eyes of a person of that age; `seed` is what their vessels and texture are drawn from.

    >>> pair = sample_anatomies(np.random.default_rng(0), age=60, seed=(0,))
    >>> abs(pair["R"].pigment - pair["L"].pigment) < 0.1
    True
    """
    common = {
        "across": rng.normal(4.55, 0.22), "up": rng.normal(0.40, 0.14), "size": rng.normal(0.92, 0.07),
        "cup": rng.uniform(0.22, 0.62), "pigment": rng.beta(1.7, 1.7),
        "tessellation": rng.beta(0.9, 2.6), "hue": rng.normal(0.96, 0.09),
        "crescent": max(0.0, rng.normal(-0.1, 0.45)), "tortuosity": rng.lognormal(0.0, 0.35),
        "width": rng.normal(1.0, 0.09), "arcade": rng.normal(1.0, 0.06),
    }  # fmt: skip
    years = (age - 30) / 50
    pair: dict[Eye, Anatomy] = {}
    for number, eye in enumerate(("R", "L")):
        size = common["size"] + rng.normal(0, 0.02)
        pair[eye] = Anatomy(  # type: ignore[index]
            eye=eye,  # type: ignore[arg-type]
            disc_mm=(common["across"] + rng.normal(0, 0.08), common["up"] + rng.normal(0, 0.08)),
            disc_radii_mm=(0.92 * size * rng.uniform(0.95, 1.03), 1.02 * size),
            cup=float(np.clip(common["cup"] + rng.normal(0, 0.04), 0.15, 0.75)),
            pigment=float(np.clip(common["pigment"] + rng.normal(0, 0.02), 0, 1)),
            hue=float(np.clip(common["hue"] + rng.normal(0, 0.015), 0.72, 1.18)),
            tessellation=float(common["tessellation"] * (1.2 - common["pigment"])),
            haze=float(np.clip(rng.normal(0.12 + 0.28 * years, 0.10), 0.0, 0.75)),
            crescent=float(np.clip(common["crescent"] + rng.normal(0, 0.08), 0, 1)),
            reflex=float(np.clip(rng.normal(0.75 - 0.8 * years, 0.15), 0, 1)),
            tortuosity=float(common["tortuosity"] * rng.lognormal(0, 0.1)),
            vessel_width=float(common["width"] + rng.normal(0, 0.02)),
            arcade=float(common["arcade"] + rng.normal(0, 0.03)),
            seed=(*seed, number),
        )
    return pair
