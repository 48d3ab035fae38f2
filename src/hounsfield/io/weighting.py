"""What an MR image is weighted by: as its description says it, or else as its times of repetition, echo and
inversion do.
"""

from __future__ import annotations

import re

__all__ = ["weighting_of_times", "weighting_of_words"]

_WORDS = (
    ("T1", r"t1|mp2?rage|bravo|spgr|tfl3d|vibe"),
    ("FLAIR", r"flair|tirm.?dark"),
    ("T2*", r"t2.?(\*|star)|swi\b|swan|hemo"),
    ("T2", r"t2"),
    ("DWI", r"dwi|diff|dti|\badc\b|trace"),
    ("PD", r"\bpd|proton"),
)
"""In the order in which they win: a "T1 FLAIR" is weighted by T1, a "T2 FLAIR" is a FLAIR."""


def weighting_of_words(words: str) -> str:
    """What a description or a file's name says: "T1", "FLAIR", "T2", "T2*", "PD", "DWI", or "" for nothing.

    >>> [weighting_of_words(w) for w in ("Sag T1 MPRAGE", "AX T2 FLAIR", "t1_flair", "sub-01_T2w", "scout")]
    ['T1', 'FLAIR', 'T1', 'T2', '']
    """
    told = words.casefold()
    return next((name for name, pattern in _WORDS if re.search(pattern, told)), "")


def weighting_of_times(*, repetition_ms: float, echo_ms: float, inversion_ms: float = 0.0) -> str:
    """What a sequence's times make of it; "" where they are not known (0) or fit nothing.

    A long inversion with a long echo suppresses water (De Coene 1992); an inversion of about a second with a
    short echo is the magnetisation-prepared sequence (Mugler & Brookeman 1990).

    >>> weighting_of_times(repetition_ms=2300, echo_ms=2.9, inversion_ms=900)
    'T1'
    >>> weighting_of_times(repetition_ms=9000, echo_ms=125, inversion_ms=2500)
    'FLAIR'
    >>> weighting_of_times(repetition_ms=4500, echo_ms=100), weighting_of_times(repetition_ms=0, echo_ms=5)
    ('T2', '')
    """
    if repetition_ms <= 0 or echo_ms <= 0:
        return ""
    if inversion_ms >= 1500 and echo_ms >= 60:
        return "FLAIR"
    if echo_ms < 30 and (repetition_ms < 900 or 300 <= inversion_ms < 1500):
        return "T1"
    if echo_ms >= 60 and repetition_ms >= 1800:
        return "T2"
    return "PD" if echo_ms < 30 and repetition_ms >= 1800 and inversion_ms <= 0 else ""
