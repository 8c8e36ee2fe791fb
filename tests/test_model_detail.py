"""The fine detail of frames, beside what their session usually shows."""

import numpy as np
import pytest
import torch

from model.baseline import Habit, running_habit
from model.calibrating import calibrate
from model.detail import DETAIL_PX, detail_of, fit_grain, lasting, usual_detail
from model.fusion import Fusion
from model.judging import weigh_windows
from model.past import REMEMBERED, RENEWED, Memory, Trace
from model.windows import Windows
from tests.test_model_synthetic import model_config, station, trained, with_images

pytestmark = pytest.mark.usefixtures("one_thread")


def frames(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, DETAIL_PX, DETAIL_PX, generator=torch.Generator().manual_seed(seed))


def test_detail_knows_nothing_of_light_that_is_even() -> None:
    plain = torch.full((2, 3, DETAIL_PX, DETAIL_PX), 0.3)
    assert detail_of(plain).abs().max() < 1e-6
    assert torch.allclose(detail_of(frames(1) / 2), detail_of(frames(1)) / 2, atol=1e-6)


def test_a_speck_stands_out_where_it_is() -> None:
    frame = torch.full((1, 3, DETAIL_PX, DETAIL_PX), 0.3)
    frame[:, :, 50, 30] = 0.9
    detail = detail_of(frame)[0]
    assert divmod(int(detail.argmax()), DETAIL_PX) == (50, 30)
    assert detail[50, 30] == pytest.approx(0.6 * (1 - 1 / 25), abs=1e-5)


def test_what_lasts_is_the_mean_of_two_frames_and_of_one_where_there_is_none_before() -> None:
    now, before = frames(2, 1), frames(2, 2)
    found = lasting(now, before, torch.tensor([True, False]))
    assert torch.allclose(found[0], (detail_of(now) + detail_of(before))[0] / 2)
    assert torch.equal(found[1], detail_of(now)[1])


def test_training_remembers_of_detail_what_a_session_would() -> None:
    random, count = np.random.default_rng(1), REMEMBERED + 3 * RENEWED
    details = random.normal(size=(2 * count, DETAIL_PX, DETAIL_PX)).astype(np.float32)
    episode, present = np.arange(2 * count) // count, np.ones(2 * count, np.bool_)
    usual = usual_detail(details, episode, present)
    small = np.zeros((3, 2, 2), np.float32)
    memory = Memory(lambda remembered: {})
    for at in range(count):
        known = memory.steady.get("camera")
        there = np.array([count + at])
        assert usual.known(there).item() == (known is not None)
        if known is not None:
            found = usual.at(there)[0].numpy()
            assert found == pytest.approx(known.arrays["usual_detail"], abs=2e-3)
        trace = Trace(
            small={"camera": small},
            coefficients={"camera": small},
            expected={"camera": small},
            detail={"camera": details[count + at]},
        )
        memory.add(trace, ["camera"])


def test_windows_without_a_frame_are_not_remembered() -> None:
    details = np.ones((3 * RENEWED, DETAIL_PX, DETAIL_PX), np.float32)
    present = np.arange(len(details)) % 2 == 0
    details[~present] = np.nan
    usual = usual_detail(details, np.zeros(len(details), np.int64), present)
    known = usual.known(np.arange(len(details)))
    assert known.tolist() == [at >= 2 * RENEWED - 1 for at in range(len(details))]
    assert (usual.at(np.array([len(details) - 1])) == 1).all()


def test_the_grain_is_what_a_pixel_spreads_by() -> None:
    random = torch.Generator().manual_seed(0)
    spread = torch.linspace(0.01, 0.1, DETAIL_PX)
    left = [torch.randn(40, DETAIL_PX, DETAIL_PX, generator=random) * spread for _ in range(25)]
    grain = fit_grain(left)
    assert grain.mean(0).numpy() == pytest.approx(spread.numpy(), rel=0.05)


def speckled(clean: Windows, since: int) -> Windows:
    """The same with faint specks on the lens from window ``since`` on."""
    pictures = clean.images["camera"].astype(np.int16)
    rows, columns = np.random.default_rng(3).integers(0, pictures.shape[1], (2, 12))
    pictures[since:, rows, columns] += 30
    return with_images(clean, np.clip(pictures, 0, 255).astype(np.uint8))


def test_specks_that_come_are_seen_and_ones_that_were_there_are_not() -> None:
    fusion, _ = trained()
    clean = station(1, 3 * RENEWED, seed=60)
    later = slice(2 * RENEWED, None)

    def seen(windows: Windows) -> float:
        return float(np.median(weigh_windows(fusion, windows)["camera"]["detail"][later]))

    came, was_there = seen(speckled(clean, 2 * RENEWED)), seen(speckled(clean, 0))
    assert came > was_there + 0.5


def test_nothing_is_said_while_the_session_is_unknown() -> None:
    said = weigh_windows(trained()[0], station(1, 2 * RENEWED, seed=9))["camera"]["detail"]
    assert np.isnan(said[:RENEWED]).all()
    assert np.isfinite(said[RENEWED:]).all()


def test_what_a_network_says_of_an_unknown_session_is_an_evidence_of_its_own() -> None:
    said = weigh_windows(trained()[0], station(1, 2 * RENEWED, seed=9))["camera"]
    for name in ("learnt", "foretold"):
        assert np.isnan(said[name][:RENEWED]).all()
        assert np.isfinite(said[name][RENEWED:]).all()
    assert np.isfinite(said["unsettled"][:RENEWED]).all()
    assert np.isnan(said["unsettled"][RENEWED:]).all()


def test_an_evidence_that_says_nothing_yet_does_not_count() -> None:
    random = np.random.default_rng(5)
    count, episode = 400, np.arange(400) // 100
    texture, detail = random.normal(size=(2, count))
    detail[np.arange(count) % 100 < 16] = np.nan
    present = {"camera": np.ones(count, np.bool_)}
    evidence = {"camera": {"texture": texture, "detail": detail}}
    found = calibrate(
        evidence, present, episode, (1e-2,), {"camera": frozenset(evidence["camera"])}
    )

    def score(detail: float, habit_of_detail: bool, texture: float = 0.0) -> float:
        habit = Habit(median=0.0, spread=1.0)
        habits = {"texture": habit} | ({"detail": habit} if habit_of_detail else {})
        values = {"texture": texture, "detail": detail}
        return float(
            found.score({"camera": values}, {"camera": True}, {"camera": habits})["camera"]
        )

    assert score(9.0, True) > 1
    assert score(9.0, False) == score(np.nan, True) == score(np.nan, False) < 1
    assert score(np.nan, False, texture=9.0) > 1
    assert np.isnan(running_habit(detail, episode, present["camera"]).median[25])
    assert np.isfinite(running_habit(detail, episode, present["camera"]).median[26])


def test_what_never_says_anything_is_left_out_with_its_reason() -> None:
    values = {"camera": {"texture": np.arange(50.0), "detail": np.full(50, np.nan)}}
    present = {"camera": np.ones(50, np.bool_)}
    found = calibrate(values, present, np.zeros(50, np.int64), (1e-2,), {"camera": frozenset()})
    assert "never" in found.modalities["camera"].disabled["detail"]


def test_an_untrained_model_judges_by_grain_one() -> None:
    assert (Fusion(model_config()).inspector.scene("camera").grain == 1).all()
