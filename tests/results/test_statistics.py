"""Means and intervals against closed forms and brute force."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt.results.statistics import (
    compare,
    holm,
    reference_of,
    resampled_means,
    seed_means,
    seedless,
    summarise,
)

NAN = math.nan


def cases(values: dict[str, list[list[float]]]) -> dict[str, float]:
    """``{reference: [seeds of prompt 0, seeds of prompt 1, ...]}`` as scores by case id."""
    return {
        f"{reference}/p{p}/s{s}": value
        for reference, prompts in values.items()
        for p, seeds in enumerate(prompts)
        for s, value in enumerate(seeds)
    }


def test_ids():
    assert (reference_of("swan/car/s12"), seedless("swan/car/s12")) == ("swan", "swan/car")
    assert (reference_of("00-003-camera-pan"), seedless("00-003-camera-pan")) == ("00-003-camera-pan",) * 2


def test_seeds_are_averaged_before_cases():
    scores = cases({"a": [[1.0, 3.0], [10.0]], "b": [[4.0, 6.0]]})
    assert seed_means(scores) == {"a/p0": 2.0, "a/p1": 10.0, "b/p0": 5.0}
    summary = summarise(scores)
    assert summary.mean == pytest.approx(17 / 3)  # pooled, it would be 24 / 5
    assert summary.std == pytest.approx(np.std([2, 10, 5], ddof=1))
    assert summary.seed_std == pytest.approx(math.sqrt(2))  # both cases with two seeds have it
    assert (summary.n, summary.missing) == (3, 0)


def test_missing_is_left_out_and_never_zero():
    summary = summarise(cases({"a": [[1.0, NAN]], "b": [[NAN]], "c": [[3.0]]}))
    assert (summary.mean, summary.n, summary.missing) == (2.0, 2, 2)
    assert math.isnan(summary.seed_std)
    empty = summarise({"a": NAN})
    assert math.isnan(empty.mean) and math.isnan(empty.std) and (empty.n, empty.missing) == (0, 1)
    alone = summarise({"a": 1.0})
    assert alone.mean == 1.0 and math.isnan(alone.std)


def test_interval_equals_brute_force():
    """Six clusters of unequal size have 6^6 equally likely resamples: list them all."""
    rng = np.random.default_rng(3)
    clusters = [rng.normal(1, 2, size) for size in (1, 2, 3, 1, 2, 4)]
    every = [np.concatenate([clusters[i] for i in picks]).mean() for picks in product(range(6), repeat=6)]
    low, high = np.percentile(resampled_means(clusters, resamples=40_000), [2.5, 97.5])
    exact = np.percentile(every, [2.5, 97.5])
    assert (low, high) == pytest.approx(tuple(exact), abs=0.05)


def test_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(0).normal(0.5, 1.0, 400)
    low, high = np.percentile(resampled_means([np.array([v]) for v in values]), [2.5, 97.5])
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_clusters_move_together():
    """Copies of a clip's score are not evidence: with clusters the interval does not shrink."""
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 10)
    single = compare({f"r{i}/p/s0": v for i, v in enumerate(values)}, {f"r{i}/p/s0": 0.0 for i in range(10)})
    copies = [(i, p) for i in range(10) for p in range(9)]
    many = compare({f"r{i}/p{p}/s0": values[i] for i, p in copies}, {f"r{i}/p{p}/s0": 0.0 for i, p in copies})
    assert (many.n, many.references) == (90, 10)
    assert (many.mean, many.low, many.high) == pytest.approx((single.mean, single.low, single.high))


def test_comparison_is_paired_on_the_intersection():
    ours = {f"r{i}/p/s0": float(i) + 1 for i in range(8)} | {"only/p/s0": 100.0, "r0/q/s0": NAN}
    theirs = {f"r{i}/p/s0": float(i) for i in range(8)} | {"r0/q/s0": 5.0}
    result = compare(ours, theirs)
    assert (result.mean, result.low, result.high) == pytest.approx((1.0, 1.0, 1.0))
    assert (result.n, result.references, result.lost) == (8, 8, 2)
    back = compare(theirs, ours)
    assert (back.mean, back.low, back.high) == pytest.approx((-1.0, -1.0, -1.0))


def test_few_references_have_no_interval():
    five = compare({f"r{i}/p/s0": 1.0 for i in range(5)}, {f"r{i}/p/s0": 0.0 for i in range(5)})
    assert five.mean == 1.0 and five.n == 5
    assert math.isnan(five.low) and math.isnan(five.high)
    none = compare({"a": 1.0}, {"b": 1.0})
    assert math.isnan(none.mean) and (none.n, none.lost) == (0, 2)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(-5, 5), min_size=6, max_size=12), st.integers(0, 3))
def test_the_same_data_give_the_same_interval(values, seed):
    ours, theirs = {f"r{i}": v for i, v in enumerate(values)}, {f"r{i}": 0.0 for i in range(len(values))}
    first, second = (compare(ours, theirs, resamples=200, seed=seed) for _ in range(2))
    assert first == second
    assert min(values) - 1e-9 <= first.low <= first.high <= max(values) + 1e-9


def test_p_agrees_with_the_interval_and_with_a_sign_test():
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.4, 0.9):
        ours = {f"r{i}/p/s0": value for i, value in enumerate(rng.normal(shift, 1, 24))}
        found = compare(ours, dict.fromkeys(ours, 0.0))
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    same = {f"r{i}/p/s0": 1.0 for i in range(8)}
    assert compare(same, same).p == 1.0
    assert compare(same, dict.fromkeys(same, 0.0)).p == pytest.approx(2 / 10_001)
    assert math.isnan(compare({"a": 1.0}, {"a": 0.0}).p)  # too few references


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=6))
def test_holm_never_lowers_a_p_and_keeps_their_order(values):
    adjusted = holm(values)
    assert adjusted.keys() == values.keys()
    for name, p in values.items():
        assert p <= adjusted[name] <= 1
        assert adjusted[name] <= len(values) * p or adjusted[name] == max(
            adjusted[other] for other in values if values[other] <= p
        )
    ranked = sorted(values, key=lambda name: values[name])
    assert [adjusted[name] for name in ranked] == sorted(adjusted.values())
