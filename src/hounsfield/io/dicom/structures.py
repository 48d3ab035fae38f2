"""What a segment is, in codes of SNOMED CT: from a name to category, type, side and place (CID 7150)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Code", "Structure", "plain_name", "structure_of"]

_CODED = """
adrenal gland|23451007|Adrenal gland
amygdala|4958002|Amygdala
aorta|15825003|Aorta
artery|51114001|Artery
bladder, urinary bladder|89837001|Bladder
blood vessel, vessel|59820001|Blood Vessel
bone|272673000|Bone
brain|12738006|Brain
brain stem, brainstem|119238007|Brain Stem
breast|76752008|Breast
caudate nucleus, caudate|11000004|Caudate Nucleus
cerebellum|113305005|Cerebellum
cerebral cortex|40146001|Cerebral cortex
colon|71854001|Colon
duodenum|38848004|Duodenum
esophagus, oesophagus|32849002|Esophagus
femur|71341001|Femur
gallbladder, gall bladder|28231008|Gallbladder
grey matter, gray matter|389081007|Gray Matter
heart|80891009|Heart
hippocampus|5366008|Hippocampus
inferior vena cava|64131007|Inferior vena cava
kidney|64033007|Kidney
lateral ventricle|66720007|Lateral Ventricle
left ventricle|87878005|Left ventricle
liver|10200004|Liver
lung|39607008|Lung
muscle|71616004|Muscle
optic disc|81016008|Optic nerve head
pancreas|15776009|Pancreas
pleura|3120008|Pleura
portal vein|32764006|Portal vein
prostate|41216001|Prostate
putamen|89278009|Putamen
rectum|34402009|Rectum
retina|5665001|Retina
rib|113197003|Rib
right ventricle|53085002|Right ventricle
skin|39937001|Skin
small intestine, small bowel|30315005|Small intestine
spinal cord|2748008|Spinal cord
spleen|78961009|Spleen
stomach|69695003|Stomach
thalamus|42695009|Thalamus
thyroid|69748006|Thyroid
trachea|44567001|Trachea
uterus|35039007|Uterus
vein|29092000|Vein
vertebra|51282000|Vertebra
white matter|389080008|White Matter
"""
_ALTERED = """
aneurysm|85659009|aneurysm
cyst|367643001|Cyst
edema, oedema|79654002|Edema
hematoma, haematoma|35566002|Hematoma
hemorrhage, haemorrhage|50960005|Hemorrhage
lesion|52988006|Lesion
mass|4147007|Mass
necrosis|6574001|Necrosis
nodule|27925004|Nodule
pleural effusion|60046008|Pleural effusion
thrombus|396339007|Thrombus
tumor, tumour, neoplasm|108369006|Neoplasm
"""
_LEFT_RIGHT = re.compile(r"\b(left|right)\b")


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: value, meaning and coding scheme (PS3.3 8.8)."""

    value: str
    meaning: str
    scheme: str = "SCT"


_ANATOMY = Code("91723000", "Anatomical Structure")
_ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
_TISSUE = Code("85756007", "Tissue")
_SIDES = {"left": Code("7771000", "Left"), "right": Code("24028007", "Right")}


@dataclass(frozen=True, slots=True)
class Structure:
    """What a segment is: its label, the category and type that code it, its side, where it lies.

    `side` and `site` (an anatomical region) are None where nothing is known of them.
    """

    name: str
    category: Code
    kind: Code
    side: Code | None = None
    site: Code | None = None

    @property
    def place(self) -> Code | None:
        """Where it was found: `site`, or the structure itself if it is anatomy."""
        return self.site or (self.kind if self.category == _ANATOMY else None)


def _table(rows: str, category: Code) -> dict[str, tuple[Code, Code]]:
    found = {}
    for row in rows.strip().splitlines():
        names, value, meaning = row.split("|")
        for name in names.split(", "):
            found[name] = (category, Code(value, meaning))
    return found


_KNOWN = _table(_CODED, _ANATOMY) | _table(_ALTERED, _ABNORMAL)


def structure_of(name: str, *, site: str = "") -> Structure:
    """The structure that a plain name means; one that the table does not know is coded as tissue.

    A side ("left lung", "kidney_right") is taken as a modifier, a number at the end ("nodule 2") as
    counting. `site` names the organ it lies in and must be in the table, otherwise it counts as unknown.
    The general code (Tissue, Tissue) says only that the name is all that is known.

    >>> s = structure_of("Lung_left")
    >>> s.kind.meaning, s.side.meaning, structure_of("nodule 2", site="lung").place.meaning
    ('Lung', 'Left', 'Lung')
    >>> structure_of("something new").kind.value
    '85756007'
    """
    plain = plain_name(name)
    bare = re.sub(r" \d+$", "", plain)
    side = None
    if bare not in _KNOWN and (found := _LEFT_RIGHT.search(bare)):
        side = _SIDES[found[1]]
        bare = " ".join(_LEFT_RIGHT.sub(" ", bare).split())
    category, kind = _KNOWN.get(bare) or _KNOWN.get(bare.removesuffix("s")) or (_TISSUE, _TISSUE)
    where = _KNOWN.get(plain_name(site))
    return Structure(name.strip(), category, kind, side, where[1] if where else None)


def plain_name(name: str) -> str:
    """A name in lower case with single spaces for all that is no letter or figure."""
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold()).split())
