"""The sources of a simulation as sites: one source divided by a column, or one source a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.core.index import Index
from hounsfield.federation.site_cases import SiteCases, at_two_sites, divided, looked_at, of_folder
from hounsfield.steps.gather import Question
from hounsfield.steps.study import Clock

__all__ = ["Divided", "divided_sources"]


@dataclass(frozen=True)
class Divided:
    """The sites' cases, those that cannot take part and why, everything that was scanned, and how many
    patients had images at several sites.
    """

    sites: tuple[SiteCases, ...]
    refused: Mapping[str, str]
    index: Index
    moved: int = 0


def divided_sources(
    sources: Mapping[str, str], by: str, question: Question, cache: Path, clock: Clock
) -> Divided:
    """The sites of the sources, by name, or of one source that the group column `by` divides.

    Raises BadInput for one source without a column, several with one, and where fewer than two can take part.
    """
    if by and len(sources) != 1:
        raise BadInput(
            f"--by {by} divides one source, and {len(sources)} were given; give one source, or "
            "leave --by out and give one for each site"
        )
    if not by and len(sources) < 2:
        raise BadInput(
            "one source was given without --by; name the column that tells the sites apart, e.g. --by site, "
            "or give a source for each site"
        )
    if by:
        source = next(iter(sources.values()))
        question = replace(question, groups=tuple(dict.fromkeys((*question.groups, *_asks(by)))))
        looked = looked_at(source, question, cache, progress=clock.progress)
        sites, refused = divided(looked, by, question)
        return Divided(sites, refused, looked.index, at_two_sites(looked.cohort.cases, by))
    found, refused = [], {}
    index = Index("", ())
    for number, (name, source) in enumerate(sources.items()):
        own = replace(question, labels=_labels(question.labels, source))
        place = cache / f"source-{number}"
        try:
            site = of_folder(source, own, place, name=name, progress=clock.progress)
        except (BadInput, GateRefused) as error:
            refused[name] = str(error)
            continue
        series = tuple(c.images[0] for c in site.cohort.cases)
        index = replace(index, series=(*index.series, *series))
        found.append(site)
    if len(found) < 2:
        why = "; ".join(f"{name}: {said}" for name, said in refused.items())
        raise BadInput(f"{len(found)} site(s) can take part ({why}); expected at least 2")
    return Divided(tuple(found), refused, index)


def _asks(by: str) -> tuple[str, ...]:
    """The column that divides, where it is none that is known without asking."""
    from hounsfield.steps.gather import KNOWN_GROUPS

    return () if by in KNOWN_GROUPS else (by,)


def _labels(table: str, source: str) -> str:
    """A site's own label table where it lies in its source, else the common one."""
    own = Path(source) / table
    return str(own) if table and Path(source).is_dir() and own.is_file() else table
