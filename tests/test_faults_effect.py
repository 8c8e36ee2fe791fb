"""How the effect of an injected fault is measured, and what moves at all."""

from dataclasses import replace

import numpy as np
import pytest

from simulators.faults.effect import (
    image_effect,
    measure_spread,
    signal_noise,
    stream_effect,
    vector_effect,
)
from simulators.faults.parts import Signal
from simulators.faults.registry import Outgoing
from simulators.timing import shifted
from stream.messages import Samples


def test_the_effect_on_vectors_is_the_largest_change_in_sensor_noises() -> None:
    before = np.zeros((3, 2))
    after = np.array([[0, 0], [0.5, -0.2], [np.nan, 0]])
    assert vector_effect(before, after, np.array([0.1, 0.01])) == pytest.approx(20)
    assert vector_effect(before[:0], after[:0], np.ones(2)) == 0


def test_where_the_noise_is_unknown_a_hundredth_of_the_spread_stands_for_it() -> None:
    signal = Signal(rate_hz=30, spread=np.array([2.0, 2.0, 0.0]), noise_sd=np.array([0.1, 0, 0]))
    np.testing.assert_allclose(signal_noise(signal), [0.1, 0.02, 1.0])


def test_the_effect_on_images_is_that_of_the_worst_block() -> None:
    before = np.full((40, 50, 3), 100, np.uint8)
    after = before.copy()
    after[0:16, 0:16] = 90
    assert image_effect(before, after) == pytest.approx(5)
    assert image_effect(before, after, (1.0, 1.0, 1.0)) == pytest.approx(10)
    # The last block of a side takes what fills none of its own: here 24 of 40 and 18 of 50.
    after = before.copy()
    after[16:, 32:] = 80
    assert image_effect(before, after) == pytest.approx(10)


def test_the_spread_is_the_standard_deviation_over_all_finite_samples() -> None:
    values = np.random.default_rng(0).normal([1e6, 0, 5], [1, 1e-3, 0], (500, 3))
    batches = [
        Samples(modality="arm", times_ns=np.arange(100), values=part)
        for part in np.split(values, 5)
    ]
    broken = values[:1].copy()
    broken[0, 0] = np.nan
    odd = np.ones((1, 2))
    spread = measure_spread(
        [
            *batches,
            Samples(modality="arm", times_ns=np.arange(1), values=odd),
            Samples(modality="other", times_ns=np.arange(1), values=broken),
        ]
    )
    np.testing.assert_allclose(spread["arm"], values.std(axis=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(spread["other"], np.zeros(3))


def test_the_effect_on_a_message_is_how_far_it_or_its_stamp_moved_in_periods() -> None:
    sample = Samples(modality="arm", times_ns=np.array([10**9]), values=np.zeros((1, 1)))
    before = Outgoing(reading=sample, due_ns=10**9)
    late = replace(before, due_ns=before.due_ns + 40_000_000)
    early_stamp = replace(before, reading=shifted(sample, -30_000_000))
    assert stream_effect(before, [before], 100) == 0
    assert stream_effect(before, [late], 100) == pytest.approx(4)
    assert stream_effect(before, [early_stamp], 100) == pytest.approx(3)
    assert stream_effect(before, [], 100) == 1
    assert stream_effect(before, [before, before], 100) == 1
    assert stream_effect(before, [before, late], 100) == pytest.approx(4)
    assert stream_effect(before, [replace(before, payload=b"")], 100) == 1
