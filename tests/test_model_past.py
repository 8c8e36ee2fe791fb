"""What a session remembers of its clean windows."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from model.past import (
    REMEMBERED,
    RENEWED,
    WORN,
    Memory,
    Recollection,
    Trace,
    Usuals,
    last_of,
    together,
)


def trace(level: float) -> Trace:
    return Trace(
        small={"camera": np.full((3, 4, 4), level, np.float32)},
        coefficients={"camera": np.full(2, level, np.float32)},
        expected={"camera": np.full(2, -level, np.float32)},
        detail={"camera": np.full((4, 4), level / 2, np.float32)},
        samples={"arm": np.full((5, 3), level, np.float32)},
        friction={"arm": np.full((2, 3), level, np.float32)},
    )


def windows_of(remembered: Mapping[str, Recollection]) -> Usuals:
    """What stands for a model: of each modality, how many windows its usual is made of."""
    return {name: {"windows": torch.tensor([one.windows])} for name, one in remembered.items()}


def passed(levels: list[float], clean: tuple[str, ...] = ("arm", "camera")) -> Memory:
    memory = Memory(windows_of)
    for level in levels:
        memory.add(trace(level), clean)
    return memory


def test_the_mean_of_all_windows_is_remembered_and_the_last_of_them() -> None:
    camera = passed([0.25, 0.75]).now["camera"]
    assert camera.arrays["usual_small"] == pytest.approx(0.5)
    assert camera.arrays["usual_expected"] == pytest.approx(-0.5)
    assert camera.arrays["usual_detail"] == pytest.approx(0.25)
    assert camera.arrays["last_coefficients"] == pytest.approx(0.75)
    assert (camera.windows, camera.age) == (2, 0)


def test_friction_is_a_running_mean_over_a_longer_time() -> None:
    arm = passed([0.25, 0.75]).now["arm"]
    assert arm.arrays["friction"] == pytest.approx(0.5)
    arm = passed([1.0] * WORN + [0.0] * REMEMBERED).now["arm"]
    assert 0.5 < arm.arrays["friction"].min() < 1


def test_what_lies_far_back_is_forgotten() -> None:
    camera = passed([1.0] * 20 + [0.0] * 6 * REMEMBERED).now["camera"]
    assert camera.arrays["usual_small"].max() < 0.01


def test_a_faulty_modality_is_not_remembered_and_what_is_known_of_it_ages() -> None:
    memory = passed([0.5, 0.5])
    for _ in range(3):
        memory.add(trace(1.0), ["arm"])
    assert memory.now["camera"].arrays["usual_small"] == pytest.approx(0.5)
    assert (memory.now["camera"].age, memory.now["camera"].windows) == (3, 2)
    assert memory.now["arm"].arrays["last_samples"] == pytest.approx(1.0)
    assert memory.now["arm"].age == 0


def test_what_windows_are_judged_by_changes_only_now_and_then() -> None:
    memory = Memory(windows_of)
    for number in range(3 * RENEWED):
        assert memory.until_renewed == RENEWED - number % RENEWED
        before, usual = memory.steady, memory.usual
        memory.add(trace(0.1), ["camera"])
        renewed = (number + 1) % RENEWED == 0
        assert (memory.steady is not before) == (memory.usual is not usual) == renewed
    assert memory.steady["camera"].windows == 3 * RENEWED
    assert memory.usual["camera"]["windows"].tolist() == [3 * RENEWED]


@pytest.mark.parametrize("cut", [0, 3, RENEWED, RENEWED + 5])
def test_a_restored_memory_goes_on_as_the_one_that_was_stored(cut: int) -> None:
    levels = np.random.default_rng(0).random(2 * RENEWED + 3).tolist()
    whole, before = passed(levels), passed(levels[:cut])
    after = Memory.restore(before.snapshot(), windows_of)
    assert after.usual == before.usual
    for level in levels[cut:]:
        after.add(trace(level), ["arm", "camera"])
    for name, known in whole.now.items():
        for key, array in known.arrays.items():
            assert np.array_equal(after.now[name].arrays[key], array)
    assert after.until_renewed == whole.until_renewed
    assert after.steady.keys() == whole.steady.keys()


def test_the_last_clean_window_counts_where_there_is_one() -> None:
    camera = passed([0.5]).now["camera"]
    device = torch.device("cpu")
    last = last_of([Recollection(), camera], {"last_coefficients": (2,)}, device)
    assert last.known.tolist() == [False, True]
    assert last.arrays["last_coefficients"].tolist() == [[0.0, 0.0], [0.5, 0.5]]


def test_what_windows_of_several_sessions_are_judged_by_stays_in_their_order() -> None:
    usuals = [passed([0.5] * RENEWED * count).usual for count in (2, 1, 2)]
    windows = together(usuals)["camera"]["windows"]
    assert windows.tolist() == [2 * RENEWED, RENEWED, 2 * RENEWED]
