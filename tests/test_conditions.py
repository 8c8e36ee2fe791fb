"""A healthy station, and one where a sensor is missing, stalled or frozen.

Driven by readings through all pure stages of a station.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stream.messages import Frame, Idle
from stream.station import Station
from tests.observing import (
    MS,
    SECOND,
    START,
    after,
    before,
    changes,
    delivered,
    frames,
    judged,
    moving,
    picture,
    resting,
    samples,
    settings,
    standing,
    swinging,
    told,
)

FRAME_NS = SECOND // 15
BLACK = np.zeros((16, 16, 3), np.uint8)


# Healthy stations


def test_a_healthy_station_raises_nothing() -> None:
    assert changes(settings(), frames(5), samples(5)) == []


def test_a_healthy_robot_that_stands_still_for_four_seconds_raises_nothing() -> None:
    def arm(second: float) -> Sequence[float]:
        return resting(second) if 1 <= second < 5 else swinging(second)

    def camera(second: float) -> Any:
        return standing(second) if 1 <= second < 5 else moving(second)

    assert changes(settings(), frames(7, camera), samples(7, arm)) == []


def test_a_robot_at_rest_under_a_camera_with_noise_raises_nothing() -> None:
    def noisy(second: float) -> Any:
        flicker = np.random.default_rng(round(second * 1000)).integers(0, 2, (16, 16, 3))
        return np.asarray(picture(3) + flicker, np.uint8)

    assert changes(settings(), frames(5, noisy), samples(5, resting)) == []


def test_jitter_and_a_lost_frame_now_and_then_raise_nothing() -> None:
    rng = np.random.default_rng(0)
    kept = [one for at, one in enumerate(frames(10)) if at % 20 != 5]
    jittered = [
        Frame(
            modality="camera",
            time_ns=one.time_ns + int(rng.integers(-8 * MS, 8 * MS)),
            data=b"",
            format="jpeg",
            pixels=one.pixels,
        )
        for one in kept
        if isinstance(one, Frame)
    ]
    assert changes(settings(), jittered, samples(10)) == []


def test_one_lost_frame_of_a_slow_second_camera_is_no_stall() -> None:
    second = {"side": {"kind": "image", "rate_hz": 3, "size_px": [16, 16]}}
    side = frames(6, modality="side", hz=3)
    lost = [*side[:8], *side[9:]]
    assert changes(settings(others=second), frames(6), samples(6), lost) == []


# Missing


def test_a_camera_that_falls_silent_is_missing_until_it_speaks_again() -> None:
    camera = [*before(2, frames(6)), *after(4, frames(6))]
    found = changes(settings(), camera, samples(6))
    assert told(found) == [("camera/missing", "raised"), ("camera/missing", "cleared")]
    assert 0 <= found[0].onset_ns - (START + 2 * SECOND) < 150 * MS


def test_an_arm_that_falls_silent_is_missing() -> None:
    found = changes(settings(), frames(6), before(2, samples(6)))
    assert told(found) == [("arm/missing", "raised")]


def test_a_modality_that_never_spoke_is_missing() -> None:
    assert told(changes(settings(), frames(3))) == [("arm/missing", "raised")]
    assert told(changes(settings(), samples(3))) == [("camera/missing", "raised")]


def test_a_station_that_falls_silent_as_a_whole_misses_no_single_modality() -> None:
    of = settings(out_of_order_ms=400)
    station = Station(of)
    assert judged(station, [*frames(3), *samples(3)], caught_up=True) == []
    silent = [Idle(modality="camera"), Idle(modality="arm")]
    assert judged(station, silent, caught_up=True) == []
    assert station.tally.windows > 40


# Stalled


@pytest.mark.parametrize("hz", [4, 6.5])
def test_a_camera_below_half_its_rate_is_stalled(hz: float) -> None:
    slow = [*before(2, frames(6)), *frames(6, hz=hz, first_s=2)]
    assert told(changes(settings(), slow, samples(6))) == [("camera/stalled", "raised")]


def test_a_camera_at_two_thirds_of_its_rate_is_not_stalled() -> None:
    assert changes(settings(), frames(6, hz=10), samples(6)) == []


def test_an_arm_below_half_its_rate_is_stalled_until_it_recovers() -> None:
    slow = [*before(2, samples(6)), *samples(4, hz=50, first_s=2), *after(4, samples(6))]
    found = told(changes(settings(), frames(6), slow))
    assert found == [("arm/stalled", "raised"), ("arm/stalled", "cleared")]


def test_an_arm_at_three_quarters_of_its_rate_is_not_stalled() -> None:
    assert changes(settings(), frames(5), samples(5, hz=94)) == []


# Frozen


def test_a_picture_that_stays_the_same_while_the_arm_moves_is_frozen() -> None:
    def stuck(second: float) -> Any:
        return moving(2.0) if 2 <= second < 5 else moving(second)

    found = changes(settings(), frames(8, stuck), samples(8))
    assert told(found) == [("camera/frozen", "raised"), ("camera/frozen", "cleared")]
    assert SECOND <= found[0].time_ns - (START + 2 * SECOND) < SECOND + 3 * FRAME_NS


def test_an_arm_whose_values_stay_the_same_while_the_picture_moves_is_frozen() -> None:
    def stuck(second: float) -> Sequence[float]:
        return resting(second) if 2 <= second < 5 else swinging(second)

    found = changes(settings(), frames(8), samples(8, stuck))
    assert told(found) == [("arm/frozen", "raised"), ("arm/frozen", "cleared")]


def test_frozen_after_ms_says_how_long_standing_still_is_normal() -> None:
    patient = settings(camera={"frozen_after_ms": 4000})
    assert changes(patient, frames(3.8, standing), samples(3.8)) == []
    assert told(changes(patient, frames(6, standing), samples(6))) == [("camera/frozen", "raised")]


def test_motion_below_its_threshold_freezes_nobody() -> None:
    def trembling(second: float) -> Sequence[float]:
        return [0.01 * np.sin(40 * second), 0.0]

    assert changes(settings(), frames(5, standing), samples(5, trembling)) == []
    keen = settings(arm={"motion_threshold": 0.005})
    found = told(changes(keen, frames(5, standing), samples(5, trembling)))
    assert found == [("camera/frozen", "raised")]


def test_a_black_camera_whose_darkness_is_normal_raises_nothing() -> None:
    arc_camera = settings(camera={"dark_is_normal": True})
    assert changes(arc_camera, frames(5, lambda _: BLACK), samples(5)) == []
    found = told(changes(settings(), frames(5, lambda _: BLACK), samples(5)))
    assert found == [("camera/frozen", "raised")]


def test_a_lit_picture_that_stays_the_same_is_frozen_even_where_darkness_is_normal() -> None:
    arc_camera = settings(camera={"dark_is_normal": True})
    found = told(changes(arc_camera, frames(5, standing), samples(5)))
    assert found == [("camera/frozen", "raised")]


def test_a_channel_that_never_moved_on_clean_data_hides_no_motion_of_the_others() -> None:
    station = Station(settings(), {"arm": [0.0, 1.0]})

    def second_channel(second: float) -> Sequence[float]:
        return [0.5, np.sin(5 * second)]

    items = delivered(frames(4, standing), samples(4, second_channel), names=("camera", "arm"))
    assert told(judged(station, items, True)) == [("camera/frozen", "raised")]
