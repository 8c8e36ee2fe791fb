"""What injections do to messages on their way, and to frames by what came before."""

import numpy as np
import pytest

from simulators.faults.registry import Outgoing
from simulators.injection import Injections
from simulators.truth import Transition
from stream.images import decode
from stream.messages import Frame, Samples
from tests.injections import (
    MODALITIES,
    NS,
    SPREADS,
    START_NS,
    STRIKES_THE_VELOCITY,
    arm,
    frame,
    injected,
    planned,
)

DUE_NS = START_NS + 5 * NS


def outgoing(seconds: float, modality: str = "camera") -> Outgoing:
    if modality == "camera":
        return Outgoing(reading=frame(seconds), due_ns=DUE_NS)
    values = np.zeros((1, 2))
    times_ns = np.array([START_NS + round(seconds * NS)])
    return Outgoing(
        reading=Samples(modality="arm", times_ns=times_ns, values=values), due_ns=DUE_NS
    )


def test_messages_of_another_time_or_modality_are_sent_as_they_are() -> None:
    injections = injected(planned("late", "camera"), planned("blur", "camera"))
    for one in (outgoing(0.09), outgoing(0.3), outgoing(0.15, "arm")):
        assert injections.send(one) == [one]
    (sent,) = injections.send(outgoing(0.15))
    assert sent.due_ns == DUE_NS + NS


def test_a_fault_of_streams_leaves_what_a_reading_says() -> None:
    injections = injected(planned("malformed", "arm", severity=1.0))
    measured, clean = arm()
    assert injections.apply(measured, clean) is measured
    camera = injected(planned("late", "camera")).apply(frame(0.15))
    bare = Injections(MODALITIES, SPREADS).apply(frame(0.15))
    assert isinstance(camera, Frame)
    assert isinstance(bare, Frame)
    assert camera.data == bare.data


def test_several_faults_of_one_stream_act_one_after_another() -> None:
    injections = injected(
        planned("late", "arm"),
        planned("duplicated", "arm", severity=1.0),
        planned("clock_offset", "arm"),
    )
    first, again = injections.send(outgoing(0.2, "arm"))
    assert DUE_NS + NS == first.due_ns < again.due_ns
    shift_ns = first.reading.time_ns - outgoing(0.2, "arm").reading.time_ns
    assert abs(shift_ns) == 1.5 * NS
    assert again.reading.time_ns == first.reading.time_ns


def test_the_truth_tells_how_far_a_message_was_moved_in_periods_of_its_modality() -> None:
    injections = injected(planned("late", "camera"), planned("late", "arm"))
    injections.send(outgoing(0.2))
    injections.send(outgoing(0.2, "arm"))
    told = [one for one in injections.due(START_NS + NS) if one.transition is Transition.ENDED]
    assert {one.injection.modality: one.effect for one in told} == {"camera": 15, "arm": 125}
    assert {one.part for one in told} == {None}
    assert {str(one.injection.origin) for one in told} == {"transport"}


def test_the_truth_tells_what_a_vector_fault_strikes() -> None:
    injections = injected(
        planned("offset"), planned("gain", seed=STRIKES_THE_VELOCITY), planned("periodic")
    )
    told = injections.due(START_NS + NS)
    assert {one.injection.fault: str(one.part) for one in told} == {
        "offset": "encoder",
        "gain": "velocity",
        "periodic": "joint",
    }


@pytest.mark.parametrize("at_s", [4.0, 1.0])
def test_a_replayed_camera_shows_what_it_saw_before_the_onset(at_s: float) -> None:
    injections = injected(planned("replayed", "camera", at_s=at_s, seconds=2.0, severity=1.0))
    clean = Injections(MODALITIES, SPREADS)
    seen = []
    for at in range(60):
        now = frame(at / 10 + 0.001, seed=at)
        changed, bare = injections.apply(now), clean.apply(now)
        assert isinstance(changed, Frame)
        assert isinstance(bare, Frame)
        seen.append(bare.data)
        hit = round(10 * at_s) <= at < round(10 * at_s) + 20
        assert changed.time_ns == now.time_ns
        # The oldest frame that is not older than 3 s; at first there is none as old.
        assert changed.data == seen[max(at - 30, 0) if hit else at]


def test_an_undecodable_frame_before_the_onset_is_not_remembered() -> None:
    injections = injected(planned("replayed", "camera", severity=0.1))
    injections.apply(frame(0.05, seed=1))
    injections.apply(frame(0.07, data=b"garbage"))
    shown = injections.apply(frame(0.3 - 0.001, seed=2))
    assert isinstance(shown, Frame)
    np.testing.assert_allclose(
        decode(shown.data).astype(int), decode(frame(0, seed=1).data), atol=40
    )
