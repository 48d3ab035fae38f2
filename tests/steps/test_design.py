"""A plan follows from the data, says why, and fits the time that it is given."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Augment, Plan
from hounsfield.steps.article_plans import NAMED_PLANS, named_plan
from hounsfield.steps.design import design, within_budget
from hounsfield.steps.fingerprint import Fingerprint

BINARY = LabelEncoding("binary", ("benign", "malignant"))
MANY = LabelEncoding("multiclass", ("0", "1", "2"))


def facts(**changed: object) -> Fingerprint:
    base: dict[str, object] = {
        "n": 500,
        "patients": 200,
        "size": (1, 448, 352),
        "aspects": (1.2, 1.3),
        "channels": 1,
        "bits": 12,
        "modality": "",
        "spacing_mm": (),
        "imbalance": 2.0,
        "levels": (0.0, 255.0),
    }
    return Fingerprint(**{**base, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("modality", ["", "MG", "CT", "CR", "MR", "OP", "US"])
@pytest.mark.parametrize("size", [(1, 28, 28), (1, 448, 352), (20, 64, 64)])
def test_every_choice_carries_its_one_line_reason(modality: str, size: tuple[int, int, int]) -> None:
    plan = design(facts(modality=modality, size=size), BINARY)
    choices = {k: v for k, v in json.loads(plan.to_json()).items() if k != "reasons"}
    keys = {
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in choices.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert {k for k in keys if not plan.reasons.get(k)} == set()
    assert not any("\n" in reason for reason in plan.reasons.values())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(10, 200_000),
    rows=st.integers(8, 4000),
    columns=st.integers(8, 4000),
    imbalance=st.floats(1, 100),
)
def test_any_flat_cohort_gets_a_plan_that_reads_back(
    n: int, rows: int, columns: int, imbalance: float
) -> None:
    plan = design(facts(n=n, size=(1, rows, columns), imbalance=imbalance), BINARY)
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.input.size[0] == 1
    assert math.prod(plan.input.size) <= 48_000
    assert plan.fit.epochs >= 5


def test_a_chest_radiograph_is_not_mirrored_and_a_mammogram_is() -> None:
    chest, breast = design(facts(modality="CR"), BINARY), design(facts(modality="MG"), BINARY)
    assert not chest.augment.flip_left_right and chest.validation.test_time == "none"
    assert breast.augment.flip_left_right and breast.validation.test_time == "flip"


def test_ct_keeps_its_units_through_one_window_for_all() -> None:
    plan = design(facts(modality="CT", size=(40, 256, 256), levels=(-1000.0, 1400.0)), BINARY)
    assert plan.input.normalise == "window"
    assert plan.input.window == (200.0, 2400.0)
    assert min(plan.input.size) > 1


def test_a_rare_class_is_weighed_and_cut_by_youden() -> None:
    rare, even = design(facts(imbalance=12.0), BINARY), design(facts(imbalance=1.5), BINARY)
    assert (rare.fit.class_weights, rare.validation.threshold_rule) == (True, "youden")
    assert (even.fit.class_weights, even.validation.threshold_rule) == (False, "half")


def test_sharpness_is_varied_only_where_it_gives_the_answer_away() -> None:
    assert design(facts(sharpness_auroc=0.9), BINARY).augment.sharpness > 0
    assert design(facts(sharpness_auroc=0.6), BINARY).augment.sharpness == 0


@pytest.mark.parametrize("modality", ["", "MG", "US", "CR"])
def test_2d_images_are_changed_as_was_measured(modality: str) -> None:
    changed = design(facts(modality=modality, size=(1, 28, 28)), BINARY).augment
    assert changed == Augment(
        rotation_deg=10, shift_width=0.08, shift_height=0.08, zoom=0.15, shear_deg=5, noise=0.1, gamma=0.5,
        flip_left_right=modality != "CR", fill="reflect",
    )  # fmt: skip


@pytest.mark.parametrize(
    "size, spacing, tilted",
    [
        ((28, 28, 28), (), True),
        ((20, 64, 64), (), False),
        ((20, 64, 64), (3.0, 1.0, 1.0), False),
        ((60, 64, 64), (1.2, 1.0, 1.0), True),
        ((200, 512, 512), (1.0, 0.6, 0.6), True),
        ((1, 448, 352), (1.0, 0.1, 0.1), False),
    ],
)
def test_volumes_are_tilted_where_their_voxels_are_nearly_cubes(
    size: tuple[int, int, int], spacing: tuple[float, ...], tilted: bool
) -> None:
    changed = design(facts(size=size, spacing_mm=spacing), BINARY).augment
    assert (changed.tilt_deg > 0) is tilted and (changed.shift_slices > 0) is (size[0] > 1)


def test_mr_images_are_shaded_and_no_others() -> None:
    assert design(facts(modality="MR"), BINARY).augment.bias_field == 0.2
    assert design(facts(modality="CT"), BINARY).augment.bias_field == 0


def test_the_loss_fits_the_kind_of_label() -> None:
    assert design(facts(), MANY).fit.loss == "cross_entropy"
    assert design(facts(), BINARY).fit.loss == "binary_cross_entropy"


def test_images_of_different_shape_are_padded_rather_than_distorted() -> None:
    assert design(facts(aspects=(0.6, 1.6)), BINARY).input.fit == "pad"
    assert design(facts(aspects=(1.0, 1.1)), BINARY).input.fit == "stretch"


def test_images_too_small_to_learn_from_are_refused() -> None:
    with pytest.raises(BadInput, match="expected at least 8"):
        design(facts(size=(1, 6, 40)), BINARY)


@settings(max_examples=60, deadline=None)
@given(
    cost=st.floats(1e-5, 2.0),
    minutes=st.floats(0.05, 60),
    n=st.integers(20, 50_000),
    cores=st.integers(1, 64),
)
def test_a_budget_only_ever_shortens(cost: float, minutes: float, n: int, cores: int) -> None:
    plan = design(facts(n=n), BINARY, budget_minutes=minutes)
    cut = within_budget(plan, cost, n=n, beside=cores)
    assert 3 <= cut.fit.epochs <= plan.fit.epochs
    assert min(cores, plan.validation.members) <= cut.validation.members <= plan.validation.members
    rounds = math.ceil(cut.validation.members / min(cores, cut.validation.members))
    spent = rounds * cut.fit.epochs * n * 0.8 * cost / 60
    assert spent <= minutes * 1.001 or (
        cut.fit.epochs == 3 and cut.validation.members == min(cores, plan.validation.members)
    )


def test_a_plan_within_its_budget_is_left_alone() -> None:
    plan = design(facts(), BINARY, budget_minutes=1000)
    cut = within_budget(plan, 1e-4, n=500, beside=2)
    assert (cut.fit, cut.validation) == (plan.fit, plan.validation)
    assert "measured" in cut.reasons["budget_minutes"]


def test_what_the_user_fixed_stays_whatever_it_costs() -> None:
    plan = design(facts(), BINARY, budget_minutes=0.01)
    cut = within_budget(plan, 1.0, n=500, beside=2, fixed={"validation.members"})
    assert (cut.validation.members, cut.fit.epochs) == (plan.validation.members, 3)
    cut = within_budget(plan, 1.0, n=500, beside=2, fixed={"fit.epochs"})
    assert (cut.validation.members, cut.fit.epochs) == (2, plan.fit.epochs)


def test_on_a_gpu_members_train_one_after_another() -> None:
    plan = design(facts(), BINARY, budget_minutes=1)
    alone = within_budget(plan, 1e-3, n=500, beside=1)
    together = within_budget(plan, 1e-3, n=500, beside=6)
    assert alone.validation.members * alone.fit.epochs < together.validation.members * together.fit.epochs


def test_the_articles_plans_say_what_the_article_says() -> None:
    a, b, c = (named_plan(f"article-{k}") for k in "abc")
    assert (a.input.size, a.input.channels, a.input.interpolation, a.fit.optimiser) == (
        (1, 224, 224), 1, "cubic", "adam",
    )  # fmt: skip
    assert (b.input.size, b.augment.rotation_deg, b.augment.zoom, b.augment.fill) == (
        (1, 150, 150), 20, 0.2, "nearest",
    )  # fmt: skip
    assert (b.augment.shift_width, b.augment.shift_height, b.augment.flip_left_right) == (0.2, 0.2, True)
    assert math.isclose(math.tan(math.radians(b.augment.shear_deg)), 0.2, abs_tol=1e-4)
    assert (c.network.trainable_layers, c.fit.optimiser, c.fit.learning_rate, c.fit.momentum) == (
        4, "sgd", 1e-4, 0.9,
    )  # fmt: skip
    assert all(p.input.normalise == "unit" and p.fit.loss == "binary_cross_entropy" for p in (a, b, c))


def test_an_unknown_plan_name_suggests_the_nearest() -> None:
    with pytest.raises(BadInput, match='did you mean "article-a"'):
        named_plan("artikel-a")
    assert set(NAMED_PLANS) == {"article-a", "article-b", "article-c"}
