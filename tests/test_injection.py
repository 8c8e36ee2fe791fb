"""What injections do to the frames and the samples of a stream."""

import cv2
import numpy as np
import pytest

from simulators.faults.parts import Part, Signal, Struck
from simulators.faults.registry import (
    FAULTS,
    FaultError,
    Origin,
    UnknownFault,
    VectorInjector,
    fault,
)
from simulators.injection import Injections
from simulators.truth import Transition, place
from stream.images import decode, encode_jpeg
from stream.messages import Floats, Frame, Kind, Samples
from tests.injections import (
    MODALITIES,
    NOISE_SD,
    NS,
    QUANTUM,
    SPREADS,
    START_NS,
    arm,
    frame,
    injected,
    pixels,
    planned,
)


def values_of(reading: object) -> Floats:
    assert isinstance(reading, Samples)
    return reading.values


def test_every_frame_takes_the_same_way_through_the_codec_and_severity_zero_adds_nothing() -> None:
    bare = Injections(MODALITIES, SPREADS).apply(frame(0.15))
    zero = injected(planned("blur", "camera", severity=0.0)).apply(frame(0.15))
    outside = injected(planned("blur", "camera")).apply(frame(0.35))
    for one in (bare, zero, outside):
        assert isinstance(one, Frame)
        assert one.data == encode_jpeg(decode(frame(0).data), 90)
        assert (one.format, one.pixels) == ("jpeg", None)


def test_a_frame_is_changed_from_the_onset_until_just_before_the_end() -> None:
    injections = injected(planned("black", "camera", severity=1.0))
    light = []
    for seconds in (0.0999, 0.1, 0.2999, 0.3):
        changed = injections.apply(frame(seconds))
        assert isinstance(changed, Frame)
        assert changed.time_ns == frame(seconds).time_ns
        light.append(bool(decode(changed.data).any()))
    assert light == [True, False, False, True]


def test_a_frozen_camera_is_frozen_in_its_very_bytes() -> None:
    injections = injected(planned("frozen", "camera"))
    frozen = [injections.apply(frame(0.1 + n / 15, seed=n)) for n in range(3)]
    assert len({one.data for one in frozen if isinstance(one, Frame)}) == 1


def test_frames_of_any_stored_format_leave_as_jpeg() -> None:
    done, data = cv2.imencode(".png", pixels())
    assert done
    stored = Frame(modality="camera", time_ns=START_NS, data=data.tobytes(), format="png")
    sent = Injections(MODALITIES, SPREADS).apply(stored)
    assert isinstance(sent, Frame)
    assert sent.format == "jpeg"
    assert sent.data.startswith(b"\xff\xd8")


@pytest.mark.parametrize("data", [b"", b"garbage", encode_jpeg(pixels())[:200]])
def test_an_undecodable_image_goes_on_as_it_is_and_is_counted(data: bytes) -> None:
    injections = injected(planned("blur", "camera"))
    broken = frame(0.2, data=data)
    assert injections.apply(broken) is broken
    assert injections.passed == {"camera": 1}


def test_samples_that_no_fault_hits_pass_untouched() -> None:
    measured, clean = arm()
    injections = injected(planned("noise", at_s=5.0), planned("blur", "camera"))
    assert injections.apply(measured, clean) is measured


def test_only_the_samples_inside_the_injection_are_changed_and_the_input_is_left_alone() -> None:
    measured, clean = arm()
    before = measured.values.copy()
    changed = injected(planned("offset")).apply(measured, clean)
    rows = np.flatnonzero((values_of(changed) != before).any(axis=1))
    seconds = (measured.times_ns[rows] - START_NS) / NS
    assert seconds.min() == pytest.approx(0.104)
    assert seconds.max() == pytest.approx(0.296)
    assert len(rows) == 25
    np.testing.assert_array_equal(measured.values, before)
    assert isinstance(changed, Samples)
    assert (changed.names, changed.units) == (measured.names, measured.units)


def test_a_sensor_fault_acts_on_what_was_measured() -> None:
    measured, clean = arm()
    stuck = values_of(injected(planned("stuck")).apply(measured, clean))
    assert set(stuck[13:38, 0]) == {measured.values[13, 0]}
    assert not stuck[13:38, 1].any()


def test_an_upstream_fault_acts_before_the_sensors_noise_and_quantisation() -> None:
    measured, clean = arm()
    shaken = values_of(injected(planned("periodic", severity=1.0)).apply(measured, clean))
    true_change = (
        values_of(injected(planned("periodic", severity=1.0)).apply(clean, clean)) - clean.values
    )
    rows = slice(13, 38)
    assert np.abs(true_change[rows]).max() > 0.05
    # Every value lies on the sensor's grid, and the noise is the one that was recorded.
    steps = shaken / QUANTUM
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    added = shaken[rows] - measured.values[rows]
    # The reference itself was rounded to the grid once, so that two half steps may add up.
    np.testing.assert_allclose(added, true_change[rows], atol=QUANTUM * 1.001)
    np.testing.assert_array_equal(shaken[:13], measured.values[:13])


def test_without_a_clean_channel_an_upstream_fault_acts_on_the_reading_unrounded() -> None:
    measured, _ = arm()
    shaken = values_of(injected(planned("periodic")).apply(measured))
    steps = shaken[14:38, 0] / QUANTUM
    assert np.abs(steps - np.rint(steps)).max() > 0.01


def test_an_upstream_fault_that_holds_the_value_keeps_the_sensors_noise() -> None:
    @fault(
        name="jammed",
        kind=Kind.VECTOR,
        origin=Origin.UPSTREAM,
        scales="the joint is jammed",
        maximum=None,
        published_range=(1.0, 1.0),
        parts=(Part.JOINT,),
    )
    def jammed(
        amount: float, rng: np.random.Generator, signal: Signal, struck: Struck
    ) -> VectorInjector:
        return lambda values, seconds: np.zeros_like(values)

    try:
        measured, clean = arm()
        held = values_of(injected(planned("jammed")).apply(measured, clean))[13:38]
    finally:
        del FAULTS[Kind.VECTOR, "jammed"]
    noise = (measured.values - clean.values)[13:38]
    np.testing.assert_allclose(held, noise, atol=QUANTUM)
    assert held[:, 0].std() > NOISE_SD / 2


def test_upstream_faults_come_first_whatever_the_order_they_were_added_in() -> None:
    measured, clean = arm()
    both = [planned("stuck"), planned("periodic", severity=1.0)]
    one, other = (
        values_of(injected(*order).apply(measured, clean)) for order in (both, both[::-1])
    )
    np.testing.assert_array_equal(one, other)
    assert len(set(one[13:38, 0])) == 1


def test_faults_last_over_readings_however_these_are_cut() -> None:
    measured, _ = arm()
    whole = values_of(injected(planned("noise"), planned("drift")).apply(measured))
    injections = injected(planned("noise"), planned("drift"))
    single = [
        values_of(
            injections.apply(
                Samples(
                    modality="arm",
                    times_ns=measured.times_ns[at : at + 1],
                    values=measured.values[at : at + 1],
                )
            )
        )
        for at in range(50)
    ]
    np.testing.assert_array_equal(np.concatenate(single), whole)


def test_recorded_garbage_reaches_the_worker() -> None:
    measured, _ = arm()
    measured.values[20] = [np.nan, np.inf]
    injections = injected(planned("drift"))
    changed = values_of(injections.apply(measured))
    assert not np.isfinite(changed[20]).any()
    assert np.isfinite(changed[21]).all()
    odd = Samples(modality="arm", times_ns=measured.times_ns, values=np.ones((50, 3)))
    assert injections.apply(odd) is odd
    assert injections.passed == {"arm": 1}
    (ended,) = [c for c in injections.due(START_NS + NS) if c.transition is Transition.ENDED]
    assert ended.effect is not None
    assert np.isfinite(ended.effect)


def test_clean_samples_of_another_time_are_refused() -> None:
    measured, clean = arm()
    shifted = Samples(modality="arm", times_ns=clean.times_ns + 1, values=clean.values)
    with pytest.raises(ValueError, match=r"arm: the clean samples .* are not those of"):
        injected(planned("periodic")).apply(measured, shifted)


def test_a_fault_on_an_unknown_modality_and_an_unknown_fault_are_refused() -> None:
    known = place(planned("drift"), START_NS, Kind.VECTOR)
    with pytest.raises(FaultError, match="no modality is named 'arm'; there are: camera"):
        Injections({"camera": MODALITIES["camera"]}, {}).add(known)
    with pytest.raises(UnknownFault):
        place(planned("drift", "camera"), START_NS, Kind.IMAGE)
    with pytest.raises(ValueError, match="no spread is given for the vector modality 'arm'"):
        Injections(MODALITIES, {})
