"""Objects without pixels as trees: the content of a structured report, and the sequences of all others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hounsfield.io.dicom.confidential import hides, legible, short_uid, uid_name, value_of
from hounsfield.io.dicom.elements import faults

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["Node", "content_tree", "sequence_tree", "tree_of"]

_DEEPEST = 24
_MOST_ITEMS = 12
# Sequences that hold bulk or that the table of segments and the header already tell.
_TOLD = {
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence",
    "DimensionOrganizationSequence", "SegmentSequence", "ContentSequence", "ContentTemplateSequence",
    "ConceptNameCodeSequence",
}  # fmt: skip

_REFERENCE = {0x00081150, 0x00081155}  # class and instance of another object


@dataclass(frozen=True, slots=True)
class Node:
    """One line of a tree: what it is called, its value ("" for a container), what lies below.

    `hidden` is True where the value may tell who somebody is, and `value` then only says what kind it is.
    """

    name: str
    value: str = ""
    hidden: bool = False
    below: tuple[Node, ...] = ()


def tree_of(dataset: Dataset, *, identity: bool = False) -> tuple[Node, ...]:
    """The content tree of a report or a key object selection; of any other object its sequences."""
    try:
        if dataset.get("ContentSequence"):
            return (content_tree(dataset, identity=identity),)
    except faults():
        return (Node("Content", "(cannot be read)"),)
    return sequence_tree(dataset, identity=identity)


def content_tree(item: Dataset, *, identity: bool = False, depth: int = 0) -> Node:
    """A content item and all below it (PS3.3 C.17.3): concept name, and value with its unit.

    Names of persons, dates, UIDs and free text are hidden unless `identity`, for they may name somebody.

    >>> from pydicom.dataset import Dataset
    >>> unit, name = Dataset(), Dataset()
    >>> unit.CodeValue, name.CodeMeaning = "mm", "Diameter"
    >>> measured = Dataset(); measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.5", [unit]
    >>> d = Dataset(); d.ValueType, d.ConceptNameCodeSequence = "NUM", [name]
    >>> d.MeasuredValueSequence = [measured]
    >>> content_tree(d)
    Node(name='Diameter', value='12.5 mm', hidden=False, below=())
    """
    kind = legible(str(item.get("ValueType") or ""))
    name = _code(item, "ConceptNameCodeSequence") or kind or "item"
    try:
        value, hidden = _content(item, kind, identity=identity)
    except faults():
        value, hidden = "(cannot be read)", False
    items = list(item.get("ContentSequence") or ()) if depth < _DEEPEST else []
    below = _runs([content_tree(i, identity=identity, depth=depth + 1) for i in items])
    if refers := item.get("ReferencedContentItemIdentifier"):  # by reference (C.17.3.2.5)
        numbers = refers if hasattr(refers, "__len__") else [refers]
        value = "see item " + ".".join(str(n) for n in numbers)
    return Node(name, value, hidden, below)


def _runs(nodes: list[Node]) -> tuple[Node, ...]:
    """Long runs of references that differ only in the object they name become one line."""
    told: list[Node] = []
    for _, run in groupby(nodes, key=lambda n: n.name if n.name in ("IMAGE", "COMPOSITE") else id(n)):
        alike = list(run)
        if len(alike) > _MOST_ITEMS and not any(n.below for n in alike):
            kinds = Counter(n.value.rsplit(" ", 1)[0] for n in alike)
            alike = [Node(alike[0].name, ", ".join(f"{count} × {kind}" for kind, count in kinds.items()))]
        told += alike
    return tuple(told)


def _content(item: Dataset, kind: str, *, identity: bool) -> tuple[str, bool]:
    if kind == "NUM":
        return _measured(item), False
    if kind == "CODE":
        return _code(item, "ConceptCodeSequence"), False
    if kind in _VALUE_KEYWORDS:
        text = legible(str(item.get(_VALUE_KEYWORDS[kind]) or ""))
        return (text, False) if identity or not text else (f"(hidden: {_kind_hidden(kind, text)})", True)
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        return _reference(item, identity=identity), False
    if kind in ("SCOORD", "SCOORD3D"):
        per_point = 3 if kind == "SCOORD3D" else 2
        points = len(_list(item.get("GraphicData"))) // per_point
        return f"{legible(str(item.get('GraphicType') or ''))}, {points} point{'s' * (points != 1)}", False
    if kind == "TCOORD":
        return legible(str(item.get("TemporalRangeType") or "")), False
    return "", False


_VALUE_KEYWORDS = {
    "TEXT": "TextValue", "PNAME": "PersonName", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime",
    "UIDREF": "UID",
}  # fmt: skip


def _kind_hidden(kind: str, text: str) -> str:
    if kind == "TEXT":
        return f"text, {len(text)} character{'s' * (len(text) != 1)}"
    if kind == "UIDREF":
        return f"UID {short_uid(text)}"
    return {"PNAME": "name of a person"}.get(kind, kind.casefold())


def _measured(item: Dataset) -> str:
    values = item.get("MeasuredValueSequence") or ()
    if not values:
        return _code(item, "NumericValueQualifierCodeSequence") or "no value"
    number = value_of(values[0]["NumericValue"])
    number = ", ".join(map(str, number)) if isinstance(number, tuple) else number
    units = values[0].get("MeasurementUnitsCodeSequence") or ()
    unit = legible(str(units[0].get("CodeValue") or units[0].get("CodeMeaning") or "")) if units else ""
    return f"{number} {'' if unit == '1' else unit}".strip()


def _code(item: Dataset, keyword: str) -> str:
    """The meaning of a coded value, or its code where no meaning is given."""
    codes = item.get(keyword) or ()
    if not codes:
        return ""
    code = codes[0]
    shown = code.get("CodeMeaning") or code.get("CodeValue") or code.get("LongCodeValue") or ""
    return legible(str(shown))


def _reference(item: Dataset, *, identity: bool) -> str:
    references = item.get("ReferencedSOPSequence") or ()
    if not references:
        return ""
    kind = str(references[0].get("ReferencedSOPClassUID") or "")
    uid = str(references[0].get("ReferencedSOPInstanceUID") or "")
    name = (uid_name(kind) or "object").replace(" Storage", "")
    frames = _list(references[0].get("ReferencedFrameNumber"))
    where = f", frame {', '.join(map(str, frames[:8]))}" if frames else ""
    return f"{name} {uid if identity else short_uid(uid)}{where}"


def sequence_tree(dataset: Dataset, *, identity: bool = False, depth: int = 0) -> tuple[Node, ...]:
    """The public sequences of an object as a tree, an item a branch; long ones are cut and say so."""
    nodes: list[Node] = []
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except faults():
            continue
        if element.VR != "SQ" or tag.is_private or (hides(element) and not identity) or not element.value:
            continue
        if element.keyword not in _TOLD:
            nodes.append(_sequence(element, identity=identity, depth=depth))
    return tuple(nodes)


def _sequence(element: DataElement, *, identity: bool, depth: int) -> Node:
    items = list(element.value)
    if _is_code(items):
        codes = (legible(str(i.get("CodeMeaning") or i.get("CodeValue") or "")) for i in items)
        return Node(element.name, ", ".join(codes))
    if len(items) > 3 and all(set(i.keys()) <= _REFERENCE for i in items):
        kinds = Counter(uid_name(str(i.get("ReferencedSOPClassUID") or "")) or "object" for i in items)
        return Node(element.name, ", ".join(f"{count} × {kind}" for kind, count in kinds.items()))
    below = [
        Node(f"item {n}", "", False, _item(item, identity=identity, depth=depth + 1))
        for n, item in enumerate(items[:_MOST_ITEMS], start=1)
    ]
    if len(items) > _MOST_ITEMS:
        below.append(Node(f"… {len(items) - _MOST_ITEMS} more items"))
    if len(below) == 1:
        return Node(element.name, "", False, below[0].below)
    return Node(element.name, f"{len(items)} items", False, tuple(below))


def _is_code(items: list[Dataset]) -> bool:
    return all("CodeMeaning" in i and len(i) <= 8 for i in items)


def _item(item: Dataset, *, identity: bool, depth: int) -> tuple[Node, ...]:
    lines: list[Node] = []
    for tag in sorted(item.keys()):
        try:
            element = item[tag]
            if tag.is_private or element.VR == "SQ" or element.value in (None, ""):
                continue
            if hides(element) and not identity:
                lines.append(Node(element.name, f"(hidden: {_vr_hidden(element)})", True))
                continue
            value = value_of(element, identity=identity)
            lines.append(Node(element.name, _joined(value)))
        except faults():
            continue
    deeper = sequence_tree(item, identity=identity, depth=depth) if depth < _DEEPEST else ()
    return (*lines, *deeper)


def _vr_hidden(element: DataElement) -> str:
    kinds = {"PN": "name of a person", "DA": "date", "TM": "time", "DT": "date", "UI": "UID"}
    return kinds.get(str(element.VR)) or f"text, {len(str(element.value))} characters"


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else [value]
