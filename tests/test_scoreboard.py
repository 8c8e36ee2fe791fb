"""What counts as found, as missed and as a false alarm."""

import json
from typing import Any

import pytest

from simulators.faults.registry import Origin
from simulators.scoreboard import Scoreboard
from simulators.truth import Change, Injection, Transition, truth_event
from stream.proto.weldfusion_pb2 import FusedLatent
from stream.watch import Seen, read_event
from stream.wire import rfc3339

SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
CELL = "acme/a/b/c/d"
ISSUED = {"modality", "fault", "severity", "onset", "detected", "delay_ms", "cleared"}


def at_ns(second: float) -> int:
    return START_NS + round(second * SECOND)


def told(board: Scoreboard, first_s: float, last_s: float, modality: str = "camera") -> None:
    """The beginning and the end of a fault, as the truth topic has them."""
    injection = Injection(
        id=f"{modality}{first_s}",
        modality=modality,
        fault="occlusion" if modality == "camera" else "drift",
        severity=0.41234,
        onset_ns=at_ns(first_s),
        end_ns=at_ns(last_s),
        seed=1,
        origin=Origin.SENSOR,
    )
    for transition, effect in ((Transition.STARTED, None), (Transition.ENDED, 12.5)):
        change = Change(injection=injection, transition=transition, effect=effect)
        board.hear_truth(json.loads(json.dumps(truth_event(change, CELL))))


def event(
    transition: str, second: float, modality: str = "camera", occurrence: str = "first"
) -> Seen:
    document = {
        "id": f"{transition}{second}{modality}",
        "source": f"/{CELL}",
        "time": rfc3339(at_ns(second)),
        "data": {
            "modality": modality,
            "condition": "signal",
            "transition": transition,
            "severity": 500,
            "occurrenceId": occurrence,
        },
    }
    seen = read_event(json.dumps(document).encode())
    assert seen is not None
    return seen


def heard(*events: Seen, faults: tuple[tuple[float, float], ...] = ((10, 14),)) -> dict[str, Any]:
    """The result of a run with these camera faults and events."""
    board = Scoreboard()
    for first_s, last_s in faults:
        told(board, first_s, last_s)
    for one in events:
        board.hear_event(one)
    return board.result(seed=7, model="m")


@pytest.mark.parametrize("second", [10, 12, 14, 15])
def test_a_fault_is_found_from_its_onset_to_one_second_after_its_end(second: float) -> None:
    result = heard(event("raised", second))
    assert result["injected"][0]["detected"] is True
    assert result["injected"][0]["delay_ms"] == (second - 10) * 1000
    assert result["false_alarms"] == 0


@pytest.mark.parametrize("second", [9.999, 15.001])
def test_an_alarm_before_or_long_after_a_fault_is_false_and_finds_nothing(second: float) -> None:
    result = heard(event("raised", second))
    assert result["injected"][0]["detected"] is False
    assert result["injected"][0]["delay_ms"] is None
    assert result["injected"][0]["cleared"] is False
    assert result["false_alarms"] == 1


def test_an_alarm_of_another_modality_is_false_and_finds_nothing() -> None:
    result = heard(event("raised", 12, "arm"))
    assert result["injected"][0]["detected"] is False
    assert result["false_alarms"] == 1
    assert [(one["modality"], one["condition"]) for one in result["false"]] == [("arm", "signal")]


def test_faults_of_two_modalities_at_once_are_found_each_by_its_own_alarm() -> None:
    board = Scoreboard()
    told(board, 10, 14)
    told(board, 11, 13, "arm")
    board.hear_event(event("raised", 11.5, "arm", "second"))
    camera, arm = board.result(1, "")["injected"]
    assert (camera["modality"], camera["detected"]) == ("camera", False)
    assert (arm["modality"], arm["detected"], arm["delay_ms"]) == ("arm", True, 500.0)


def test_the_delay_is_that_of_the_earliest_alarm_whatever_the_order_of_arrival() -> None:
    result = heard(event("raised", 13, occurrence="late"), event("raised", 11, occurrence="early"))
    assert result["injected"][0]["delay_ms"] == 1000.0
    assert result["false_alarms"] == 0


def test_two_alarms_of_one_fault_are_no_false_alarm() -> None:
    result = heard(event("raised", 11), event("raised", 13, occurrence="again"))
    assert (result["false_alarms"], result["events"]) == (0, 2)


def test_a_fault_is_cleared_by_the_end_of_its_own_alarm_only() -> None:
    raised = event("raised", 11)
    assert heard(raised, event("cleared", 17))["injected"][0]["cleared"] is True
    other = event("cleared", 17, occurrence="another")
    assert heard(raised, other)["injected"][0]["cleared"] is False


def test_updates_and_ends_outside_every_fault_are_events_but_no_false_alarms() -> None:
    result = heard(event("updated", 30), event("cleared", 31))
    assert (result["false_alarms"], result["events"]) == (0, 2)


def test_an_event_that_is_delivered_again_counts_once() -> None:
    result = heard(event("raised", 30), event("raised", 30))
    assert (result["false_alarms"], result["events"]) == (1, 1)


def test_a_fault_told_at_its_onset_and_at_its_end_is_one_fault_with_its_final_effect() -> None:
    (only,) = heard()["injected"]
    assert (only["fault"], only["severity"], only["effect"]) == ("occlusion", 0.412, 12.5)
    assert only["onset"] == rfc3339(at_ns(10))
    assert set(only) >= ISSUED


def test_faults_are_listed_in_the_order_of_their_onsets() -> None:
    result = heard(faults=((30, 34), (10, 14), (20, 24)))
    assert [one["onset"] for one in result["injected"]] == [
        rfc3339(at_ns(second)) for second in (10, 20, 30)
    ]


def test_the_truth_may_arrive_after_the_alarm() -> None:
    board = Scoreboard()
    board.hear_event(event("raised", 11))
    told(board, 10, 14)
    assert board.result(1, "")["injected"][0]["detected"] is True


def test_a_window_counts_once_with_the_latency_of_its_first_arrival() -> None:
    board = Scoreboard()
    for second, late_ms in ((1, 40), (1, 900), (2, 60)):
        latent = FusedLatent(epoch=0, anchor_time_ns=at_ns(second))
        board.hear_latent(latent.SerializeToString(), at_ns(second) + late_ms * 1_000_000)
    result = board.result(1, "")
    assert (result["windows"], result["windows_per_s"]) == (2, 0.98)  # 1.02 s apart
    assert result["latency_ms"] == {"p50": 50.0, "p95": 59.0, "p99": 59.8}


def test_the_same_anchor_in_another_epoch_is_another_window() -> None:
    board = Scoreboard()
    for epoch in (0, 1):
        latent = FusedLatent(epoch=epoch, anchor_time_ns=at_ns(1))
        board.hear_latent(latent.SerializeToString(), at_ns(1))
    assert board.result(1, "")["windows"] == 2


def test_a_run_without_windows_has_no_latency_and_is_valid_json() -> None:
    result = heard(faults=())
    assert result["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert (result["windows"], result["false_alarms"], result["injected"]) == (0, 0, [])
    json.dumps(result, allow_nan=False)


def test_counts_are_integers_and_what_was_dropped_comes_from_the_workers_status() -> None:
    board = Scoreboard()
    board.status = {"dropped": {"late": 3}}
    result = board.result(7, "m")
    assert [type(result[key]) for key in ("windows", "events", "false_alarms")] == [int] * 3
    assert (result["dropped"], result["seed"], result["model"]) == ({"late": 3}, 7, "m")
