"""Sets that hold what they promise, in groups, in classes and among patients; and when to abstain."""

import numpy as np
import pytest
from scipy.special import softmax

from hounsfield.core.errors import BadInput
from hounsfield.metrics.abstention import accuracy_coverage_curve, choose_abstention
from hounsfield.metrics.conformal import fit_conformal, set_report


def sampled(rng, n, skill=1.5, prior=(0.5, 0.3, 0.2)):
    answers = rng.choice(3, size=n, p=prior)
    logits = skill * np.eye(3)[answers] + rng.normal(size=(n, 3)) + np.log(prior)
    return softmax(logits, axis=1), answers


def holds(sets, answers):
    return sets[np.arange(len(answers)), answers]


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("error", [0.05, 0.2])
def test_coverage_is_what_was_promised(score, error):
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(150):
        p, y = sampled(rng, 300)
        rule = fit_conformal(p[:100], y[:100], error=error, score=score, seed=rng)
        seen.append(holds(rule.sets(p[100:], seed=rng), y[100:]).mean())
    assert 1 - error - 0.01 <= np.mean(seen) <= 1 - error + 0.02


def test_lac_quantile_is_the_order_statistic_of_split_conformal():
    rng = np.random.default_rng(1)
    p, y = sampled(rng, 99)
    scores = np.sort(1 - p[np.arange(99), y])
    assert fit_conformal(p, y, error=0.1).quantiles[""] == scores[89]  # ceil(.9 x 100) = the 90th


def test_rare_classes_are_missed_by_one_quantile_and_held_by_their_own():
    rng = np.random.default_rng(2)
    p, y = sampled(rng, 6000, skill=0.8, prior=(0.8, 0.15, 0.05))
    for by, least, most in (("all", 0.0, 0.8), ("class", 0.86, 0.96)):
        rule = fit_conformal(p[:3000], y[:3000], error=0.1, by=by)
        rare = y[3000:] == 2
        assert least <= holds(rule.sets(p[3000:]), y[3000:])[rare].mean() <= most, by


def test_a_harder_group_is_held_by_its_own_quantile():
    rng = np.random.default_rng(3)
    easy, hard = sampled(rng, 3000, skill=3), sampled(rng, 3000, skill=0.3)
    p, y = np.concatenate([easy[0], hard[0]]), np.concatenate([easy[1], hard[1]])
    site, pick = np.repeat(["easy", "hard"], 3000), rng.random(6000) < 0.5
    one = fit_conformal(p[pick], y[pick]).sets(p[~pick])
    own = fit_conformal(p[pick], y[pick], by="group", groups=site[pick]).sets(p[~pick], groups=site[~pick])
    hard_ones = site[~pick] == "hard"
    assert holds(one, y[~pick])[hard_ones].mean() < 0.87
    assert 0.87 < holds(own, y[~pick])[hard_ones].mean() < 0.93
    rows = {(row.name, row.group): row for row in set_report(own, y[~pick], groups=site[~pick])}
    assert rows["coverage", "hard"].low < 0.9 < rows["coverage", "hard"].high
    assert rows["set_size", "hard"].value > rows["set_size", "easy"].value
    assert rows["coverage", ""].n == (~pick).sum()


def test_too_few_of_a_group_or_an_unknown_group_get_every_class():
    rng = np.random.default_rng(4)
    p, y = sampled(rng, 100)
    site = np.where(np.arange(100) < 5, "tiny", "large")
    rule = fit_conformal(p, y, error=0.1, by="group", groups=site)
    assert rule.quantiles["tiny"] == np.inf
    assert rule.sets(p[:2], groups=["tiny", "elsewhere"]).all()


def test_a_patient_with_many_images_counts_once():
    rng = np.random.default_rng(5)
    p, y = sampled(rng, 60)
    # One patient with 500 images of one strange case would drag a pooled quantile to its score.
    many, truth = (
        np.concatenate([p, np.tile([[0.02, 0.49, 0.49]], (500, 1))]),
        np.concatenate([y, np.zeros(500, int)]),
    )
    who = np.concatenate([np.arange(60), np.full(500, 60)])
    one = fit_conformal(many[:61], truth[:61], error=0.2)
    assert fit_conformal(many, truth, error=0.2, patients=who).quantiles == one.quantiles
    assert fit_conformal(many, truth, error=0.2).quantiles[""] == pytest.approx(0.98)


def test_coverage_is_kept_for_patients_with_several_images():
    rng = np.random.default_rng(6)
    seen = []
    for _ in range(150):
        sizes = rng.integers(1, 9, 80)
        who = np.repeat(np.arange(80), sizes)
        skill = rng.normal(1.5, 1.0, 80)[who]
        y = rng.integers(0, 3, len(who))
        p = softmax(skill[:, None] * np.eye(3)[y] + rng.normal(size=(len(who), 3)), axis=1)
        calibration = who < 40
        rule = fit_conformal(p[calibration], y[calibration], error=0.1, patients=who[calibration])
        test = ~calibration
        inside = holds(rule.sets(p[test]), y[test])
        seen.append(np.mean([inside[who[test] == k].mean() for k in range(40, 80)]))
    assert 0.885 <= np.mean(seen) <= 0.93


def test_set_report_of_few_cases_is_refused():
    rows = set_report(np.ones((3, 2), bool), [0, 1, 0])
    assert all(row.value is None and "too few" in row.reason for row in rows)


def test_accuracy_of_the_surest_rises_and_has_intervals():
    rng = np.random.default_rng(7)
    confidence = rng.uniform(0.5, 1, 2000)
    right = rng.random(2000) < confidence
    curve = accuracy_coverage_curve(confidence, right)
    values = [row.value for row in curve.accuracy]
    assert curve.coverage == pytest.approx(np.arange(1, 21) / 20) and values[1] > values[-1]
    assert values[-1] == pytest.approx(right.mean()) and curve.accuracy[0].n == 100
    assert all(row.low < row.value < row.high for row in curve.accuracy)


def test_cases_of_one_confidence_are_kept_together():
    curve = accuracy_coverage_curve([0.9] * 10 + [0.6] * 10, [1] * 10 + [0] * 10, shares=[0.1, 0.6])
    assert curve.coverage.tolist() == [0.5, 1.0] and [row.value for row in curve.accuracy] == [1.0, 0.5]


def test_the_limit_is_kept_as_often_as_was_said():
    rng = np.random.default_rng(8)
    broken = told = 0
    for _ in range(200):
        confidence = rng.uniform(0.5, 1, 500)
        right = rng.random(500) < confidence
        chosen = choose_abstention(confidence, right, limit=0.15)
        if chosen.confidence is not None:
            told += 1
            broken += (
                1 - (1 + chosen.confidence) / 2
            ) > 0.15  # the mean of those kept is right in the middle
    assert told > 150 and broken / told <= 0.07


def test_abstention_counts_patients():
    rng = np.random.default_rng(9)
    confidence = rng.uniform(0.5, 1, 400)
    right = rng.random(400) < confidence
    one = choose_abstention(confidence, right, limit=0.2)
    four = choose_abstention(
        np.tile(confidence, 4), np.tile(right, 4), limit=0.2, patients=np.tile(np.arange(400), 4)
    )
    naive = choose_abstention(np.tile(confidence, 4), np.tile(right, 4), limit=0.2)
    assert (
        four.confidence == pytest.approx(one.confidence, abs=0.03)
        and naive.confidence < one.confidence - 0.02
    )


def test_a_limit_that_cannot_be_shown_refers_every_case():
    chosen = choose_abstention(np.linspace(0.5, 1, 40), [1] * 40, limit=0.01)
    assert chosen.confidence is None and chosen.kept is None and "cannot be shown" in chosen.reason
    assert "too few" in choose_abstention([0.5] * 4, [1] * 4, limit=0.1).reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_conformal([[0.5, 0.5]], [0], error=0), "the error is 0"),
        (lambda: fit_conformal([[0.5, 0.5]], [0], score="raps"), "lac or aps"),
        (lambda: fit_conformal([[0.5, 0.5]], [0], by="group"), "0 groups were given"),
        (lambda: fit_conformal([[0.5, 0.9]], [0]), "sum to 1"),
        (lambda: set_report([[0, 1]], [0]), "expected booleans"),
        (lambda: choose_abstention([0.5], [1], limit=0), "the limit is 0"),
        (lambda: accuracy_coverage_curve([0.5], [1], shares=[0]), "share of kept"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(call, words):
    with pytest.raises(BadInput, match=words):
        call()
