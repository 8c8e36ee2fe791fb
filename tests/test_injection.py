"""Injections applied to a stream, and the truth told about them."""

import json
import uuid

import cv2
import numpy as np
import pytest

from simulators.faults.registry import (
    FAULTS,
    FaultError,
    Origin,
    Signal,
    UnknownFault,
    VectorInjector,
    fault,
)
from simulators.injection import Injections
from simulators.recordings.recording import Modality
from simulators.scenario import Planned
from simulators.truth import Change, Injection, Transition, place, truth_event
from stream.images import decode, encode_jpeg
from stream.messages import Floats, Frame, Kind, Pixels, Samples

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
QUANTUM = 0.01
NOISE_SD = 0.02
MODALITIES = {
    "camera": Modality(name="camera", kind=Kind.IMAGE, rate_hz=15),
    "arm": Modality(
        name="arm",
        kind=Kind.VECTOR,
        rate_hz=125,
        names=("position_1", "velocity_1"),
        noise_sd=(NOISE_SD, NOISE_SD),
        quantum=(QUANTUM, QUANTUM),
    ),
}
SPREADS = {"arm": np.array([1.0, 2.0])}


def planned(name: str, modality: str = "arm", **settings: float) -> Planned:
    facts = {"at_s": 0.1, "severity": 0.5, "seconds": 0.2, "seed": 3} | settings
    return Planned(modality=modality, fault=name, **facts)  # type: ignore[arg-type]


def injected(*wanted: Planned) -> Injections:
    injections = Injections(MODALITIES, SPREADS)
    for one in wanted:
        injections.add(place(one, START_NS, MODALITIES[one.modality].kind))
    return injections


def pixels(seed: int = 0) -> Pixels:
    rough = np.random.default_rng(seed).integers(20, 236, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (64, 48), interpolation=cv2.INTER_CUBIC), np.uint8)


def frame(seconds: float, seed: int = 0, data: bytes | None = None) -> Frame:
    return Frame(
        modality="camera",
        time_ns=START_NS + round(seconds * NS),
        data=encode_jpeg(pixels(seed), 80) if data is None else data,
        format="jpeg",
    )


def arm(count: int = 50, seed: int = 0) -> tuple[Samples, Samples]:
    """Measured and clean samples: a sine and its slope, with noise and quantisation."""
    seconds = np.arange(count) / 125
    clean = np.stack([np.sin(seconds), np.cos(seconds)], axis=1)
    noisy = clean + np.random.default_rng(seed).normal(0, NOISE_SD, clean.shape)
    times_ns = START_NS + (seconds * NS).astype(np.int64)
    return (
        Samples(
            modality="arm",
            times_ns=times_ns,
            values=np.rint(noisy / QUANTUM) * QUANTUM,
            names=MODALITIES["arm"].names,
            units=("rad", "rad/s"),
        ),
        Samples(modality="arm", times_ns=times_ns, values=clean),
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
        parameter="nothing: the joint is jammed",
        published_range=(1.0, 1.0),
    )
    def jammed(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
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


def test_a_placed_fault_has_the_same_id_wherever_it_is_placed_at_the_same_time() -> None:
    one = place(planned("drift", at_s=2.0), START_NS, Kind.VECTOR)
    same = place(planned("drift", at_s=1.0), START_NS + NS, Kind.VECTOR)
    later = place(planned("drift", at_s=3.0), START_NS, Kind.VECTOR)
    assert one == same
    assert one.id != later.id
    assert (one.onset_ns, one.end_ns) == (START_NS + 2 * NS, START_NS + 2_200_000_000)
    assert one.origin is Origin.SENSOR


def test_beginnings_and_ends_are_told_once_in_the_order_of_time() -> None:
    injections = injected(planned("blur", "camera", at_s=0.25), planned("drift"))
    assert injections.due(START_NS) == []
    assert [one.fault for one in injections.active(START_NS + NS // 10)] == ["drift"]
    told = injections.due(START_NS + NS // 10)
    told += injections.due(START_NS + NS)
    told += injections.due(START_NS + 60 * NS)
    assert [(one.injection.fault, str(one.transition)) for one in told] == [
        ("drift", "started"),
        ("blur", "started"),
        ("drift", "ended"),
        ("blur", "ended"),
    ]
    assert injections.active(START_NS + NS // 5) == (), "what is long over is forgotten"


def test_the_effect_is_the_largest_change_in_sensor_noises_and_grows_with_severity() -> None:
    effects = []
    for severity in (0.2, 0.8):
        injections = injected(
            planned("offset", severity=severity), planned("black", "camera", severity=severity)
        )
        injections.apply(arm()[0])
        injections.apply(frame(0.2))
        ended = injections.due(START_NS + NS)[2:]
        effects.append({one.injection.fault: one.effect for one in ended})
    assert effects[0]["offset"] == pytest.approx(0.2 / NOISE_SD)
    assert effects[1]["offset"] == pytest.approx(0.8 / NOISE_SD)
    assert 0 < effects[0]["black"] * 3.5 < effects[1]["black"] < effects[0]["black"] * 4.5


def test_an_injection_that_no_reading_met_has_no_effect() -> None:
    assert [one.effect for one in injected(planned("drift")).due(START_NS + NS)] == [None, None]


def change(transition: Transition, effect: float | None = None) -> Change:
    injection: Injection = place(planned("drift", at_s=0.5), START_NS, Kind.VECTOR)
    return Change(injection=injection, transition=transition, effect=effect)


def test_the_truth_is_a_cloud_event_with_the_time_of_the_change() -> None:
    event = truth_event(change(Transition.ENDED, 12.34567), "acme/north/body/line-1/cell-4")
    assert json.loads(json.dumps(event, allow_nan=False)) == {
        "specversion": "1.0",
        "id": event["id"],
        "source": "/acme/north/body/line-1/cell-4",
        "type": "weldfusion.truth.ended.v1",
        "subject": "arm/drift",
        "time": "2023-11-14T22:13:20.700000Z",
        "datacontenttype": "application/json",
        "data": {
            "modality": "arm",
            "fault": "drift",
            "severity": 0.5,
            "onsetTime": "2023-11-14T22:13:20.500000Z",
            "endTime": "2023-11-14T22:13:20.700000Z",
            "origin": "sensor",
            "effect": 12.346,
        },
    }
    assert uuid.UUID(event["id"]).version == 5


def test_the_id_of_a_truth_event_tells_changes_and_stations_apart_but_not_repetitions() -> None:
    station = "acme/north/body/line-1/cell-4"
    started = truth_event(change(Transition.STARTED), station)
    assert started["type"] == "weldfusion.truth.started.v1"
    assert started["time"] == started["data"]["onsetTime"]
    assert started["data"]["effect"] is None
    ids = {
        started["id"],
        truth_event(change(Transition.STARTED, 1.0), station)["id"],
        truth_event(change(Transition.ENDED), station)["id"],
        truth_event(change(Transition.STARTED), "acme/north/body/line-1/cell-5")["id"],
    }
    assert len(ids) == 3
