"""What each fault of the camera does to its pictures."""

import cv2
import numpy as np
import pytest

from simulators.faults.registry import start
from stream.messages import Kind, Pixels
from tests.scenes import SEEDS, scene

GREY_AXIS = np.ones(3) / np.sqrt(3)


def grey(level: int = 128, side_px: int = 256) -> Pixels:
    return np.full((side_px, side_px, 3), level, np.uint8)


def shown(name: str, severity: float, seed: int, frame: Pixels, seconds: float = 0.0) -> Pixels:
    return start(Kind.IMAGE, name, severity, seed)(frame, seconds)


def difference(one: Pixels, other: Pixels) -> np.ndarray:
    """By how many grey levels pixels differ at most, (height, width)."""
    return np.asarray(np.abs(one.astype(int) - other).max(axis=2))


def roughness(picture: Pixels) -> float:
    """How much of a picture is finer than 8 px, in shares of what there is."""
    levels = picture[:, :, 0].astype(np.float32)
    return float((levels - cv2.GaussianBlur(levels, (0, 0), 8)).std() / levels.std())


@pytest.mark.parametrize("severity", [0.2, 0.6, 1.0])
def test_an_occluder_covers_its_share_of_the_frame_wherever_it_stands(severity: float) -> None:
    for seed in SEEDS:
        covered = shown("occlusion", severity, seed, grey(200))[:, :, 0] < 160
        assert covered.mean() == pytest.approx(0.5 * severity, abs=0.02)


def test_an_occluder_stays_in_place_but_for_a_slow_sway() -> None:
    injector = start(Kind.IMAGE, "occlusion", 0.5, 4)
    covered = [injector(grey(200, 128), seconds)[:, :, 0] < 160 for seconds in np.arange(60) / 15]
    moved = [float((covered[0] ^ later).mean()) for later in covered]
    assert 0 < max(moved) < 0.08
    np.testing.assert_array_equal(covered[0], injector(grey(200, 128), 0.0)[:, :, 0] < 160)


def test_dust_lies_in_the_same_place_on_every_frame() -> None:
    injector = start(Kind.IMAGE, "dust", 1.0, 4)
    first, second = (difference(injector(scene(n), n / 15), scene(n)) > 30 for n in (0, 1))
    assert 0.01 < first.mean() < 0.2
    both = (first & second).sum() / min(first.sum(), second.sum())
    assert both > 0.5


def test_blur_smooths_a_point_to_the_sigma_that_its_severity_says() -> None:
    point = np.zeros((101, 101, 3), np.uint8)
    point[49:52, 49:52] = 255
    blurred = shown("blur", 1 / 3, 0, point)[:, :, 0].astype(float)
    across = (np.arange(101) - 50) ** 2
    variance = (blurred.sum(axis=0) * across).sum() / blurred.sum()
    assert np.sqrt(variance - 2 / 3) == pytest.approx(3.0, rel=0.1)


def test_scratches_are_thin_bright_and_in_the_same_place_on_every_frame() -> None:
    injector = start(Kind.IMAGE, "scratches", 1.0, 2)
    first, later = injector(grey(60), 0.0), injector(grey(60), 9.0)
    np.testing.assert_array_equal(first, later)
    scratched = (first[:, :, 0] > 100).astype(np.uint8)
    assert 0.01 < scratched.mean() < 0.15
    assert not cv2.erode(scratched, np.ones((7, 7), np.uint8)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_drops_bend_and_blur_what_lies_behind_them_and_leave_the_rest(seed: int) -> None:
    fine = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    wet = shown("water_drops", 0.5, seed, fine)
    touched = cv2.morphologyEx(
        (difference(wet, fine) > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)
    )
    assert 0.01 < touched.mean() < 0.9
    inner = cv2.erode(touched, np.ones((15, 15), np.uint8)).astype(bool)
    assert inner.any()
    rough = [np.abs(cv2.Laplacian(one, cv2.CV_32F))[inner].mean() for one in (wet, fine)]
    assert rough[0] < rough[1] / 5


def test_no_drop_is_larger_than_its_severity_says() -> None:
    for seed in SEEDS:
        touched = (
            difference(shown("water_drops", 0.1, seed, scene(0, 256, 256)), scene(0, 256, 256)) > 0
        )
        # Ten drops of 10 px with lobes of a third more cover that much where none overlap.
        assert touched.sum() <= 10 * np.pi * (1.4 * 10 + 1) ** 2


def test_cracks_reach_as_far_as_their_severity_says_and_displace_what_lies_between() -> None:
    picture = scene(0, 256, 256)
    for seed in SEEDS:
        changed = difference(shown("cracked_lens", 0.25, seed, picture), picture) > 8
        down, across = np.nonzero(changed)
        middle = np.array([(down.min() + down.max()) / 2, (across.min() + across.max()) / 2])
        reach = np.hypot(down - middle[0], across - middle[1]).max()
        assert 0.2 * 256 * 0.6 < reach < 0.2 * 256 * 1.5
    black_and_white = np.zeros((256, 256, 3), np.uint8)
    black_and_white[::2] = 255
    flat = shown("cracked_lens", 1.0, 1, grey(225))
    assert difference(flat, grey(225)).max() < 100, "glass alone is only its cracks"
    assert (
        difference(shown("cracked_lens", 1.0, 1, black_and_white), black_and_white) > 20
    ).mean() > 0.3


def test_flares_only_add_light_and_lie_in_line_with_the_glare_and_the_middle() -> None:
    added = shown("lens_flare", 1.0, 3, grey(0)).max(axis=2)
    assert (shown("lens_flare", 1.0, 3, scene()) >= scene()).all()
    glare = np.array(np.unravel_index(added.argmax(), added.shape)) + 0.5
    toward = (128 - glare) / np.linalg.norm(128 - glare)
    down, across = np.nonzero(added > 60)
    aside = np.abs((down + 0.5 - glare[0]) * toward[1] - (across + 0.5 - glare[1]) * toward[0])
    far = np.hypot(down - glare[0], across - glare[1]) > 60
    assert far.any()
    assert aside[far].max() < 17, "a radius of 15 px, and the glare's place to a pixel"


@pytest.mark.parametrize("name", ["perlin_fog", "fractal_fog"])
def test_fog_takes_contrast_and_tends_to_a_light_grey_in_banks_that_drift(name: str) -> None:
    injector = start(Kind.IMAGE, name, 1.0, 3)
    picture = scene(0, 256, 256)
    foggy = injector(picture, 0.0).astype(float)
    assert foggy.std() < picture.std() * 0.8
    assert foggy.mean() > picture.mean() + 20
    density = [injector(grey(0), seconds)[:, :, 0].astype(float) for seconds in (0.0, 2.0)]
    assert density[0].max() == pytest.approx(0.9 * 205, abs=25)
    assert density[0].min() < 0.5 * density[0].max()
    assert np.abs(density[0] - density[1]).mean() > 2


def test_fractal_fog_is_finer_than_perlins() -> None:
    fine, broad = (
        np.mean([roughness(shown(name, 1.0, seed, grey(0))) for seed in SEEDS])
        for name in ("fractal_fog", "perlin_fog")
    )
    assert fine > 1.3 * broad


def test_smoke_rises_and_leaves_what_lies_below_its_source() -> None:
    injector = start(Kind.IMAGE, "smoke", 1.0, 1)
    first, later = (injector(grey(0), s)[:, :, 0].astype(np.float32) for s in (0.0, 0.2))
    rise = [
        float(np.corrcoef(first[20:].ravel(), np.roll(later, px, 0)[20:].ravel())[0, 1])
        for px in range(-20, 21)
    ]
    assert int(np.argmax(rise)) - 20 > 5, "what was at a row is found above it later"
    assert first[:128].mean() > 4 * first[250:].mean()


def test_brightness_scales_light_and_contrast_spreads_it_about_mid_grey() -> None:
    for seed in SEEDS:
        light = shown("brightness", 0.5, seed, grey(100))[0, 0, 0]
        assert light in (65, 135)
        spread = shown("contrast", 0.5, seed, np.concatenate([grey(118), grey(128), grey(138)]))
        assert [int(spread[at, 0, 0]) for at in (0, 300, 600)] in ([122, 128, 134], [114, 128, 142])


def test_saturation_moves_colours_from_or_to_grey_and_leaves_the_luma() -> None:
    luma = [0.299, 0.587, 0.114]
    picture = (100 + (scene().astype(int) - 128) // 4).astype(np.uint8)
    greys = 0
    for seed in SEEDS:
        changed = shown("saturation", 1.0, seed, picture)
        np.testing.assert_allclose(changed @ luma, picture @ luma, atol=1.5)
        wide, before = (np.ptp(one.astype(int), axis=2).mean() for one in (changed, picture))
        greys += wide == 0
        assert wide == 0 or wide == pytest.approx(2 * before, rel=0.05)
    assert 0 < greys < len(SEEDS)
    np.testing.assert_array_equal(shown("saturation", 1.0, 1, grey(90)), grey(90))


def test_hue_turns_colours_by_its_angle_and_leaves_greys() -> None:
    picture = np.full((4, 4, 3), (150, 120, 110), np.uint8)
    turned = shown("hue", 0.5, 1, picture)[0, 0].astype(float)
    before = picture[0, 0].astype(float)
    assert turned.sum() == pytest.approx(before.sum(), abs=2)
    chroma = [one - (one @ GREY_AXIS) * GREY_AXIS for one in (before, turned)]
    cosine = chroma[0] @ chroma[1] / np.prod([np.linalg.norm(one) for one in chroma])
    assert np.degrees(np.arccos(cosine)) == pytest.approx(45, abs=2)
    np.testing.assert_array_equal(shown("hue", 1.0, 1, grey(90)), grey(90))


def test_image_noise_has_the_standard_deviation_that_its_severity_says() -> None:
    injector = start(Kind.IMAGE, "noise", 0.4, 0)
    first, second = (injector(grey(), n / 15).astype(float) - 128 for n in (0, 1))
    assert first.std() == pytest.approx(20, rel=0.02)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_speckle_grows_with_the_light() -> None:
    dark, light = (shown("speckle", 0.5, 3, grey(level)).astype(float) for level in (20, 80))
    assert dark.std() == pytest.approx(0.3 * 20, rel=0.03)
    assert light.std() == pytest.approx(0.3 * 80, rel=0.03)
    assert not shown("speckle", 1.0, 3, grey(0)).any()


def test_salt_and_pepper_strikes_its_share_of_the_pixels_half_black_and_half_white() -> None:
    struck = shown("salt_and_pepper", 0.5, 3, grey())
    assert (struck == 0).all(axis=2).mean() == pytest.approx(0.05, abs=0.005)
    assert (struck == 255).all(axis=2).mean() == pytest.approx(0.05, abs=0.005)


def test_a_noise_frame_says_nothing_of_the_picture_at_one_and_half_of_it_at_a_half() -> None:
    whole = shown("noise_frame", 1.0, 3, scene(0, 256, 256))
    assert abs(np.corrcoef(whole.ravel(), scene(0, 256, 256).ravel())[0, 1]) < 0.01
    assert whole.std() == pytest.approx(73.9, rel=0.02), "uniform over 256 levels"
    assert shown("noise_frame", 0.5, 3, grey(200)).mean() == pytest.approx(163.7, rel=0.01)


def test_black_and_white_are_wholly_so_at_one_and_half_so_at_a_half() -> None:
    assert not shown("black", 1.0, 0, scene()).any()
    assert (shown("white", 1.0, 0, scene()) == 255).all()
    assert shown("black", 0.5, 0, scene()).mean() == pytest.approx(scene().mean() / 2, rel=0.01)
    assert shown("white", 0.5, 0, grey(100))[0, 0, 0] == pytest.approx(177.5, abs=0.6)


def test_swapped_colours_are_the_same_planes_in_another_order() -> None:
    for seed in SEEDS:
        swapped = shown("colour_swap", 0.1, seed, scene())
        planes = {scene()[:, :, at].tobytes(): at for at in range(3)}
        order = [planes[swapped[:, :, at].tobytes()] for at in range(3)]
        assert sorted(order) == [0, 1, 2] != order


def test_a_frozen_camera_repeats_its_first_frame_bit_by_bit() -> None:
    injector = start(Kind.IMAGE, "frozen", 0.3, 4)
    reused = scene(0)
    np.testing.assert_array_equal(injector(reused, 0.0), scene(0))
    reused[:] = 0
    for number in range(1, 4):
        np.testing.assert_array_equal(injector(scene(number), number / 15), scene(0))


def test_a_frozen_picture_with_new_noise_is_never_twice_the_same() -> None:
    injector = start(Kind.IMAGE, "frozen_noisy", 0.3, 4)
    frames = [injector(scene(number), number / 15).astype(float) for number in range(4)]
    assert len({one.tobytes() for one in frames}) == 4
    for one in frames:
        assert (one - scene(0)).std() == pytest.approx(2, rel=0.05)


def test_old_pictures_come_again_from_before_the_onset_on() -> None:
    injector = start(Kind.IMAGE, "replayed", 0.5, 4)  # 1.5 s old
    seconds = [at / 10 for at in range(-30, 40)]
    for at, now in enumerate(seconds):
        old = injector(scene(at, 8, 8), now)
        if now >= 0:
            np.testing.assert_array_equal(old, scene(at - 15, 8, 8))


def test_without_a_memory_a_replay_shows_the_oldest_picture_that_it_has() -> None:
    injector = start(Kind.IMAGE, "replayed", 0.1, 4)  # 0.3 s old
    for at in range(6):
        old = injector(scene(at, 8, 8), at / 10)
        np.testing.assert_array_equal(old, scene(max(at - 3, 0), 8, 8))
