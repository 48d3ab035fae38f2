"""One case: the images of one question, the patient they belong to, and the answer if it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.marked import Marked
from hounsfield.core.redact import listed, pattern

__all__ = ["Case", "Label", "LabelEncoding"]


@dataclass(frozen=True, slots=True)
class Label:
    """The classes that hold for a case, by their number: one of them, or any number if multi-label."""

    positive: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelEncoding:
    """The names of the classes in the order of the network's outputs; it is saved with the model.

    `kind` is "binary", "multiclass" or "multilabel"; `target` names the column or columns.
    In a binary task the second class is the positive one.

    >>> encoding = LabelEncoding("binary", ("benign", "malignant"), ("finding",))
    >>> encoding.encode("malignant"), encoding.positive
    (Label(positive=(1,)), 'malignant')
    """

    kind: str
    classes: tuple[str, ...]
    target: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("binary", "multiclass", "multilabel"):
            raise BadInput(f'label kind "{self.kind}" is unknown; use binary, multiclass, multilabel')
        if len(set(self.classes)) != len(self.classes):
            raise BadInput("a class is named twice in the label encoding; name each class once")

    @property
    def positive(self) -> str:
        """The class that a binary score speaks of."""
        return self.classes[-1]

    @property
    def positive_name(self) -> str:
        """The positive class in words: where it is only 1, true or yes, the name of the target column.

        >>> LabelEncoding("binary", ("0", "1"), ("malignant",)).positive_name
        'malignant'
        """
        plain = self.positive.casefold() in ("1", "1.0", "true", "yes", "y")
        return (
            self.target[0] if plain and len(self.target) == 1 and self.target[0] != "label" else self.positive
        )

    @property
    def outputs(self) -> int:
        """Columns of the score table: one for a binary task, one a class otherwise."""
        return 1 if self.kind == "binary" else len(self.classes)

    def encode(self, name: str) -> Label:
        """Turn a label as written (several joined by "|") into class numbers.

        Raises BadInput where a name is not among the classes; the error shows its pattern only, since a
        single label cannot be told from an id.
        """
        names = [n for n in name.split("|") if n] if self.kind == "multilabel" else [name]
        unknown = [n for n in names if n not in self.classes]
        if unknown:
            raise BadInput(
                f"a label of the form {pattern(unknown[0])} (A a letter, 9 a digit) is not among the classes "
                f"{listed(self.classes, ids=False)}; correct the label or leave the row out"
            )
        return Label(tuple(self.classes.index(n) for n in names))


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked about once: an image (or several) of a patient.

    `patient` is an opaque key used for splitting and clustering; where the source names no
    patient it is unique to the case and `patient_known` is False. `groups` are the columns along
    which results are broken down (sex, age band, site, scanner, …). `answer` is None if unknown. `when` is
    the place of its date among the cohort's, 0 the earliest: no date is kept.

    Where places are asked for, several `images` are channels on the grid of the first. `masks` are pairs of a
    structure's name and the image that is above 0 in it, or of "" and an image of the numbers of structures;
    `annotated` are the numbers of the structures that were outlined at all (None: all). `within` is an image
    above 0 where the case counts (a field of view). `marked` are objects; None where nobody marked the image.
    """

    id: str
    patient: str
    images: tuple[Series, ...]
    answer: Label | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    patient_known: bool = True
    given_part: str = ""
    when: int | None = None
    masks: tuple[tuple[str, Series], ...] = ()
    annotated: tuple[int, ...] | None = None
    within: Series | None = None
    marked: tuple[Marked, ...] | None = None
