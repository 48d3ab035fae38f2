"""Surface metrics against brute force, DeepMind's definition written out, and closed forms."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial.distance import cdist

from hounsfield.core.errors import BadInput
from hounsfield.metrics import surface_distance
from hounsfield.metrics.surface import surface_agreement
from hounsfield.metrics.surface_elements import facet_areas_mm2

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.8, 0.7), (0.5, 1.0, 3.0)]
masks = arrays(bool, (4, 5, 6)).filter(lambda mask: mask.any())


def blob(seed, size=24, middle=0.0):
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.normal(size=(size, size + 3, size - 2)), 2)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in rough.shape), indexing="ij"))
    return ((place - middle) ** 2).sum(axis=0) + 4 * rough < 0.5


def surface_by_erosion(mask):
    """MONAI's edge: the mask without its erosion by face neighbours; outside the image is background."""
    return mask & ~ndimage.binary_erosion(mask)


def places(marks, spacing):
    return np.argwhere(marks) * np.array(spacing)


def monai_by_brute_force(said, truth, spacing, tolerance):
    one, two = (places(surface_by_erosion(mask), spacing) for mask in (said, truth))
    far = cdist(one, two)
    there, back = far.min(axis=1), far.min(axis=0)
    both = np.concatenate([there, back])
    return {
        "hd_mm": both.max(),
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd_mm": both.mean(),
        "nsd": (both <= tolerance + 1e-9).mean(),
    }


# Marching cubes with vertices at the middles of the edges: the triangles of one cube of each kind, as
# corners' pairs (an edge's middle). Corners are bits kji; the cube of `inside` corners is cut.
def middle(a, b):
    return (np.array([a >> 2, a >> 1 & 1, a & 1]) + np.array([b >> 2, b >> 1 & 1, b & 1])) / 2


FANS = {
    (7,): [[(7, 3), (7, 5), (7, 6)]],
    (6, 7): [[(6, 2), (7, 3), (7, 5)], [(6, 2), (7, 5), (6, 4)]],
    (5, 6): [[(5, 1), (5, 4), (5, 7)], [(6, 2), (6, 4), (6, 7)]],
    (5, 6, 7): [[(5, 1), (7, 3), (6, 2)], [(5, 1), (6, 2), (5, 4)], [(5, 4), (6, 2), (6, 4)]],
    (4, 5, 6, 7): [[(4, 0), (5, 1), (7, 3)], [(4, 0), (7, 3), (6, 2)]],
    (3, 5, 6): [[(3, 1), (3, 2), (3, 7)], [(5, 1), (5, 4), (5, 7)], [(6, 2), (6, 4), (6, 7)]],
    (3, 5, 6, 7): [
        [(3, 1), (3, 2), (6, 2)],
        [(3, 1), (6, 2), (6, 4)],
        [(3, 1), (6, 4), (5, 4)],
        [(3, 1), (5, 4), (5, 1)],
    ],
    (3, 4): [[(3, 1), (3, 2), (3, 7)], [(4, 0), (4, 5), (4, 6)]],
    (3, 4, 7): [[(3, 1), (3, 2), (7, 5)], [(3, 2), (7, 5), (7, 6)], [(4, 0), (4, 5), (4, 6)]],
    (1, 2, 4, 7): [[(k, k ^ 1), (k, k ^ 2), (k, k ^ 4)] for k in (1, 2, 4, 7)],
    (2, 3, 4, 5): [
        [(2, 0), (3, 1), (3, 7)],
        [(2, 0), (3, 7), (2, 6)],
        [(4, 0), (5, 1), (5, 7)],
        [(4, 0), (5, 7), (4, 6)],
    ],
    (3, 4, 5, 6): [
        [(3, 1), (3, 2), (3, 7)],
        [(4, 0), (5, 1), (6, 2)],
        [(5, 1), (6, 2), (5, 7)],
        [(6, 2), (5, 7), (6, 7)],
    ],
}


def area_of(inside, spacing):
    """The area of the surface in a cube, by its kind's triangles turned into its position."""
    for kind, triangles in FANS.items():
        for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
            for mirror in product((0, 1), repeat=3):

                def turned(corner, axes=axes, mirror=mirror):
                    bits = [corner >> 2, corner >> 1 & 1, corner & 1]
                    moved = [bits[axis] ^ flip for axis, flip in zip(axes, mirror, strict=True)]
                    return moved[0] * 4 + moved[1] * 2 + moved[2]

                corners = {turned(k) for k in kind}
                if inside in (corners, set(range(8)) - corners):
                    total = 0.0
                    for triangle in triangles:
                        a, b, c = (middle(turned(p), turned(q)) * spacing for p, q in triangle)
                        total += np.linalg.norm(np.cross(b - a, c - a)) / 2
                    return total
    return None


def deepmind_written_out(said, truth, spacing, tolerance):
    """Surface elements between eight voxels, weighted by area: loops over every neighbourhood."""
    sides = []
    for mask in (said, truth):
        padded, found, areas = np.pad(mask, 1), [], []
        table = facet_areas_mm2(spacing)
        for k, j, i in np.ndindex(*(n - 1 for n in padded.shape)):
            cube = padded[k : k + 2, j : j + 2, i : i + 2].ravel()
            if cube.any() and not cube.all():
                found.append((k, j, i))
                areas.append(table[int("".join("1" if bit else "0" for bit in cube), 2)])
        sides.append((np.array(found) * np.array(spacing), np.array(areas)))
    (one, one_area), (two, two_area) = sides
    far = cdist(one, two)
    directed = [(far.min(axis=1), one_area), (far.min(axis=0), two_area)]
    robust = []
    for distance, area in directed:
        order = np.argsort(distance, kind="stable")
        reached = np.cumsum(area[order]) / area.sum()
        robust.append(distance[order][min(np.searchsorted(reached, 0.95), len(order) - 1)])
    total = one_area.sum() + two_area.sum()
    return {
        "hd_mm": max(far.min(axis=1).max(), far.min(axis=0).max()),
        "hd95_mm": max(robust),
        "assd_mm": sum((distance * area).sum() for distance, area in directed) / total,
        "nsd": sum(area[distance <= tolerance + 1e-9].sum() for distance, area in directed) / total,
    }


def agrees(found, expected):
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("spacing", SPACINGS)
@settings(max_examples=25, deadline=None)
@given(said=masks, truth=masks)
def test_outer_voxels_agree_with_brute_force(spacing, said, truth):
    found = surface_agreement(said, truth, spacing_mm=spacing, tolerance_mm=1.0)
    agrees(found, monai_by_brute_force(said, truth, spacing, 1.0))


@pytest.mark.parametrize("spacing", SPACINGS)
@settings(max_examples=15, deadline=None)
@given(said=masks, truth=masks)
def test_facets_agree_with_deepminds_definition_written_out(spacing, said, truth):
    found = surface_agreement(said, truth, spacing_mm=spacing, tolerance_mm=1.0, elements="facets")
    agrees(found, deepmind_written_out(said, truth, spacing, 1.0))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_organs_agree_with_both_definitions(spacing):
    said, truth = blob(0), blob(1, middle=0.1)
    agrees(
        surface_agreement(said, truth, spacing_mm=spacing, tolerance_mm=1.5),
        monai_by_brute_force(said, truth, spacing, 1.5),
    )
    agrees(
        surface_agreement(said, truth, spacing_mm=spacing, tolerance_mm=1.5, elements="facets"),
        deepmind_written_out(said, truth, spacing, 1.5),
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.7, 3.1)])
def test_facet_areas_are_those_of_marching_cubes(spacing):
    areas = facet_areas_mm2(spacing)
    known = 0
    for code in range(1, 255):
        # Bit 7 of the code is the corner (0, 0, 0), bit 0 the corner (1, 1, 1).
        expected = area_of({k for k in range(8) if code >> (7 - k) & 1}, np.array(spacing))
        if expected is not None:
            known += 1
            assert areas[code] == pytest.approx(expected), bin(code)
    assert known == 230 and areas[0] == areas[255] == 0


def test_facet_areas_of_the_one_kind_left_over():
    """Four corners in a row around a bend, which marching cubes cut in four triangles."""
    assert facet_areas_mm2((1.0, 1.0, 1.0))[0b00011011] == pytest.approx(4 * 3**0.5 / 8 + 2 * 2**0.5 / 4)


@pytest.mark.parametrize("elements", ["voxels", "facets"])
def test_far_surfaces_are_searched_by_every_path_alike(monkeypatch, elements):
    said, truth = blob(2), np.zeros_like(blob(2))
    truth[0, 0, 0] = truth[-1, -1, -1] = True
    said[:3] = False
    options = {"spacing_mm": (2.0, 0.9, 1.3), "tolerance_mm": 1.0, "elements": elements}
    whole = surface_agreement(said, truth, **options)
    monkeypatch.setattr(surface_distance, "_REACH", 12)
    assert surface_agreement(said, truth, **options) == whole
    monkeypatch.setattr(surface_distance, "_FEW", 0)
    by_planes = surface_agreement(said, truth, **options)
    assert by_planes.hd95_mm == pytest.approx(whole.hd95_mm) and by_planes.assd_mm == pytest.approx(
        whole.assd_mm
    )


def test_threads_change_nothing(monkeypatch):
    said, truth = blob(0), blob(3)
    alone = surface_agreement(said, truth, spacing_mm=(1, 1, 1), tolerance_mm=1)
    monkeypatch.setattr("hounsfield.metrics.surface._WORTH_THREADS", 0)
    assert surface_agreement(said, truth, spacing_mm=(1, 1, 1), tolerance_mm=1) == alone


@pytest.mark.parametrize("elements", ["voxels", "facets"])
def test_plane_images_have_lines_for_surfaces(elements):
    said, truth = blob(4)[10], blob(5)[10]
    found = surface_agreement(said, truth, spacing_mm=(0.7, 1.9), tolerance_mm=1, elements=elements)
    one, two = (places(surface_by_erosion(mask), (0.7, 1.9)) for mask in (said, truth))
    if elements == "voxels":
        assert found.hd_mm == pytest.approx(
            max(cdist(one, two).min(axis=1).max(), cdist(one, two).min(axis=0).max())
        )
    square = np.zeros((5, 5), bool)
    square[1:4, 1:4] = True
    same = surface_agreement(square, square, spacing_mm=(0.7, 1.9), tolerance_mm=0, elements=elements)
    assert same.nsd == 1 and same.hd_mm == 0


def test_contour_lengths_of_a_plane_image_are_deepminds():
    lengths = facet_areas_mm2((1.0, 2.0, 3.0))
    diagonal = np.hypot(2.0, 3.0) / 2
    # Both slices alike: code 16 * c + c for the four corners c.
    by_code = [lengths[17 * code] for code in range(16)]
    expected = [0, diagonal, diagonal, 3, diagonal, 2, 2 * diagonal, diagonal]
    assert by_code == pytest.approx(expected + expected[::-1])


def test_a_shift_is_measured_in_millimetres_along_its_axis():
    mask = np.zeros((12, 12, 12), bool)
    mask[3:8, 3:8, 3:8] = True
    for axis, length in enumerate((3.0, 1.5, 0.25)):
        found = surface_agreement(np.roll(mask, 2, axis), mask, spacing_mm=(3.0, 1.5, 0.25), tolerance_mm=0)
        assert found.hd_mm == pytest.approx(2 * length)


def test_a_tolerance_that_is_met_exactly_counts_as_met():
    mask = np.zeros((1, 1, 8), bool)
    mask[..., 2] = True
    for spacing in (0.1, 0.7, 1.1):
        found = surface_agreement(
            np.roll(mask, 3, 2), mask, spacing_mm=(1, 1, spacing), tolerance_mm=3 * spacing
        )
        assert found.nsd == 1


def test_empty_masks_are_said_to_be_so():
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    both = surface_agreement(empty, empty, spacing_mm=(1, 1, 1), tolerance_mm=1)
    assert both.nsd is None and both.hd95_mm is None and "both masks are empty" in both.reason
    for said, truth, who in ((empty, full, "prediction"), (full, empty, "reference")):
        one = surface_agreement(said, truth, spacing_mm=(1, 1, 1), tolerance_mm=1)
        assert one.nsd == 0 and one.hd95_mm is None and one.assd_mm is None
        assert one.reason == f"the {who} is empty: its distance is not defined"


def test_the_definition_is_named():
    mask = np.ones((3, 3, 3), bool)
    for elements, words in (("voxels", "number of voxels"), ("facets", "by area")):
        found = surface_agreement(mask, mask, spacing_mm=(1, 1, 1), tolerance_mm=2, elements=elements)
        assert words in found.definition and "2 mm" in found.definition


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing_mm": (1, 1)}, "one length above 0 for each axis"),
        ({"spacing_mm": (1, 0, 1)}, "above 0"),
        ({"tolerance_mm": -1.0}, "0 mm or more"),
        ({"elements": "pixels"}, 'expected "voxels" or "facets"'),
        ({"reference": np.ones((2, 2, 3), bool)}, "one shape"),
        ({"reference": np.full((2, 2, 2), 2)}, "runs from 2 to 2"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(options, words):
    given_ = {"reference": np.ones((2, 2, 2), bool), "spacing_mm": (1, 1, 1), "tolerance_mm": 1.0} | options
    with pytest.raises(BadInput, match=words):
        surface_agreement(np.ones((2, 2, 2), bool), **given_)
