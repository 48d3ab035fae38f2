"""What a model of places finds in other images, written as files: masks, DICOM objects, tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hounsfield.core.case import Case
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.source import Source
from hounsfield.pipeline.seeing import channels_of
from hounsfield.steps.regions.pairing import pairing_of
from hounsfield.steps.results.cases import Located, Outlined, Written, require_known
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.scan import scan
from hounsfield.steps.study import Clock

__all__ = ["outline_source"]


def outline_source(
    model: Model,
    source: str,
    *,
    out: Path,
    write: Collection[str] = (),
    progress: Progress | None = None,
) -> Written:
    """Outline or search every image of a source and write what is asked for (`WRITES`).

    Without `write` a segmentation writes NIfTI masks and a table, a detection a table. Masks among the images
    are not looked at. Raises BadInput where an image has other channels than the model learned from, and for
    kinds that are unknown.
    """
    outlines = model.plan.task == "segmentation"
    write = tuple(write) or (("nifti", "csv") if outlines else ("csv",))
    require_known(write)
    clock, folder = Clock(progress or Silent()), RunFolder(out)
    with folder.opened(resume=False):
        with clock.step("scan", Path(source).name) as said:
            index = scan(source, progress=clock.progress.advance)
            said.append(index.summary())
        cases = _cases(index, model)
        with clock.step("predict") as said, Source(index.source) as opened:
            made = _outlines if outlines else _locations
            found = made(model, opened, cases, out, write, clock)
            said.append(f"{len(cases)} images by {len(model.members)} member(s)")
        folder.keep_files(cases)
    return found


def _outlines(
    model: Model, source: Source, cases: tuple[Case, ...], out: Path, write: tuple[str, ...], clock: Clock
) -> Written:
    from hounsfield.steps.results.outlined import write_outlined

    return write_outlined(
        _outlined(model, source, cases, clock),
        source,
        out=out,
        structures=model.plan.segmentation.structures,
        write=write,
        algorithm=algorithm_of(model),
    )


def _locations(
    model: Model, source: Source, cases: tuple[Case, ...], out: Path, write: tuple[str, ...], clock: Clock
) -> Written:
    from hounsfield.steps.results.located import write_located

    detection = model.plan.detection
    kept = tuple(w for w in write if w in ("csv", "sr"))
    written = write_located(
        _located(model, source, cases, clock),
        source,
        out=out,
        classes=detection.classes,
        shape=detection.shape,
        threshold=model.operating_point.values[0],
        write=kept or ("csv",),
        algorithm=algorithm_of(model),
    )
    left = sorted(set(write) - set(kept))
    if not left:
        return written
    said = f"{', '.join(left)}: a detection has no outlines; its {detection.shape} stands in the report (sr)"
    return replace(written, notes=(said, *written.notes))


def _cases(index: Index, model: Model) -> tuple[Case, ...]:
    """The images of a source as cases without masks, with the model's channels."""
    asked = channels_of(model.plan)
    pairs = pairing_of(index, channels=asked, channel_names=asked).pairs
    return tuple(
        Case(p.images[0].id, p.images[0].patient or p.patient or f"image {p.images[0].id}", p.images)
        for p in pairs
    )


def _outlined(model: Model, source: Source, cases: tuple[Case, ...], clock: Clock) -> Iterator[Outlined]:
    from hounsfield.steps.segmentation.predict import outlined_cases

    for case, native, labels in outlined_cases(model, source, cases, progress=clock.progress.advance):
        yield Outlined(case.id, case.images[0], native.affine, bool(native.spacing_mm), labels)


def _located(model: Model, source: Source, cases: tuple[Case, ...], clock: Clock) -> Iterator[Located]:
    from hounsfield.steps.detection.predict import located_cases

    for case, native, found in located_cases(model, source, cases, progress=clock.progress.advance):
        yield Located(case.id, case.images[0], native.affine, bool(native.spacing_mm), found)


def algorithm_of(model: Model) -> Algorithm:
    """Who drew a result, for DICOM: this package, its version and the model's digest."""
    try:
        own = version("hounsfield")
    except PackageNotFoundError:
        own = ""
    return Algorithm("hounsfield", own, model.plan.digest()[:16])
