"""What frames and vectors are disturbed by, so that networks learn what is clean."""

import numpy as np
import pytest
import torch

from model.detail import detail_of, usual_detail
from model.frame_disturbance import OPERATIONS, block_change, draw_disturbance
from model.frame_lessons import Classroom, draw_nuisance
from model.frame_masks import MASKS, octave_noise
from model.scene import DETAIL_PX, averaged
from model.vector_disturbance import LEAST_CHANGE, describe, disturb
from model.vector_disturbance import OPERATIONS as VECTOR_OPERATIONS
from model.windows import Windows

UNITS = ("rad",) * 3 + ("rad/s",) * 3 + ("N·m",) * 3


def frame(seed: int = 0, side: int = 64) -> np.ndarray:
    smooth = octave_noise(np.random.default_rng(seed), side, side)[..., None]
    return np.clip(120 + 40 * smooth * [1.0, 0.8, 0.6], 0, 255).astype(np.uint8)


def window(seed: int = 0, samples: int = 32) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(samples)[:, None] / 125
    phase = random.uniform(0, 6, 3)
    angle, rate = np.sin(3 * time + phase), 3 * np.cos(3 * time + phase)
    return np.concatenate([angle, rate, 10 * np.cos(angle)], axis=1)


@pytest.mark.parametrize("draw_mask", MASKS, ids=lambda one: one.__name__.strip("_"))
def test_every_mask_covers_something_and_stays_within_bounds(draw_mask) -> None:
    for seed in range(20):
        mask = draw_mask(np.random.default_rng(seed), 48, 64)
        assert mask.shape == (48, 64)
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert mask.max() <= 1 + 1e-6


@pytest.mark.parametrize("draw_operation", OPERATIONS, ids=lambda one: one.__name__.strip("_"))
def test_every_operation_changes_a_frame_and_not_its_argument(draw_operation) -> None:
    changes = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        levels = frame(seed).astype(np.float32)
        before = levels.copy()
        changed = draw_operation(random, 64, 64)(levels, random)
        assert changed.shape == levels.shape
        assert np.array_equal(levels, before)
        changes.append(np.abs(np.clip(changed, 0, 255) - before).max())
    assert np.median(changes) > 2


def test_the_same_draw_disturbs_alike_and_leaves_the_rest_of_the_frame_alone() -> None:
    for seed in range(20):
        clean, other = frame(seed), frame(seed + 100).astype(np.float32)
        drawn = [draw_disturbance(np.random.default_rng(seed), 64, 64, other) for _ in range(2)]
        one, again = (each(clean, np.random.default_rng(1)) for each in drawn)
        assert np.array_equal(one, again)
        outside = drawn[0].mask == 0
        assert np.array_equal(one[outside], clean[outside])


def test_block_change_is_the_rms_of_each_block() -> None:
    before = np.zeros((16, 16, 3), np.uint8)
    after = before.copy()
    after[:8, :8] = 10
    assert block_change(before, after, 8) == pytest.approx(np.array([[10, 0], [0, 0]]))


def test_units_pair_a_channel_with_its_rate_of_change() -> None:
    channels = describe(UNITS, np.ones(9), 125.0)
    assert channels.derivative.tolist() == [3, 4, 5, -1, -1, -1, -1, -1, -1]
    assert channels.unit.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert (describe((), np.ones(4), 10.0).derivative == -1).all()


@pytest.mark.parametrize("operation", VECTOR_OPERATIONS, ids=lambda one: one.__name__.strip("_"))
def test_what_a_vector_disturbance_marks_is_what_it_changed(
    operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.vector_disturbance.OPERATIONS", {operation: 1.0})
    noise = np.full(9, 0.01)
    channels = describe(UNITS, noise, 125.0)
    found = 0
    for seed in range(15):
        clean, other = window(seed), window(seed + 50)
        before = clean.copy()
        changed, hit = disturb(np.random.default_rng(seed), clean, other, channels)
        assert np.array_equal(clean, before)
        change = np.abs(changed - clean).max(0)
        assert np.array_equal(hit, change > LEAST_CHANGE * noise)
        found += hit.any()
    assert found >= 10


def test_a_shifted_angle_takes_its_speed_along_where_the_drive_derives_it() -> None:
    channels = describe(UNITS, np.full(9, 1e-3), 125.0)
    for seed in range(400):
        clean = window(seed)
        _, hit = disturb(np.random.default_rng(seed), clean, window(seed + 1), channels)
        columns = np.flatnonzero(hit)
        if len(columns) == 2 and columns[1] == columns[0] + 3:
            return
    pytest.fail("no draw hit an angle together with its speed")


def classroom(episodes: int = 2, frames: int = 40) -> Classroom:
    count = episodes * frames
    pictures = np.stack([frame(at % 7) for at in range(count)])
    small = pictures.astype(np.float16) / 255
    windows = Windows(
        images={"camera": pictures},
        previous={"camera": np.where(np.arange(count) % frames > 0, np.arange(count) - 1, -1)},
        vectors={},
        present={"camera": np.ones(count, np.bool_)},
        episode=np.arange(count) // frames,
    )
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    details = detail_of(averaged(pixels, DETAIL_PX)).numpy()
    return Classroom(
        windows=windows,
        name="camera",
        small=small,
        detail=usual_detail(details, windows.episode, windows.present["camera"]),
        index=np.arange(count),
    )


def test_half_of_a_lesson_is_disturbed_and_says_where() -> None:
    lesson = classroom().lesson(np.random.default_rng(0), 60)
    assert lesson.disturbed.tolist() == [False, True] * 30
    assert (lesson.cells[~lesson.disturbed] == 0).all()
    assert (lesson.cells[lesson.disturbed].max((1, 2)) > 0).mean() > 0.8


def test_a_lesson_recalls_only_earlier_windows_of_the_same_episode() -> None:
    lesson = classroom().lesson(np.random.default_rng(1), 60)
    assert lesson.has_usual.any()
    for at, recalled, known in zip(lesson.index, lesson.recalled, lesson.has_usual, strict=True):
        there = recalled[recalled >= 0]
        if known:
            assert (there < at).all()
            assert (there // 40 == at // 40).all()
        else:
            assert there.tolist() == [at]


def test_a_lesson_follows_from_its_random_numbers_alone() -> None:
    one, again = (classroom().lesson(np.random.default_rng(3), 6) for _ in range(2))
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.usual, again.usual)


def test_a_nuisance_is_linear_so_it_can_be_applied_to_a_mean() -> None:
    nuisance = draw_nuisance(np.random.default_rng(2))
    some = [frame(seed).astype(np.float32) for seed in range(4)]
    mean_of = np.mean([nuisance(one) for one in some], axis=0)
    assert nuisance(np.mean(some, axis=0)) == pytest.approx(mean_of, abs=0.05)
