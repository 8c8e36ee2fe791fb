"""Recordings as windows: which are there, which are labelled faulty, which are left out."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model.windows import Pairs, Windows
from simulators import injected
from simulators.datasets import Dataset, clean_windows, completed_modalities, open_dataset
from simulators.faults.registry import lookup
from simulators.injected import draw_faults, faulty_pairs
from simulators.recordings.mcap_writer import McapWriter
from simulators.recordings.open import open_recording
from simulators.recordings.recording import RecordingError
from simulators.scenario import Planned
from simulators.training import TrainSettings
from simulators.window_files import origin_of
from simulators.windowing import joined, select
from stream.messages import Kind
from tests.recorded import ARM_HZ, CAMERA_HZ, CHANNELS, MODALITIES, write_recording

SECONDS = 6.0
SAMPLES = 32
ARM_AT, CAMERA_AT = 0, 1  # classes are numbered by name
SETTINGS = TrainSettings.model_validate(
    {
        "kind": "train",
        "name": "small",
        "modalities": {
            "camera": {"kind": "image", "size_px": (64, 64), "widths": (8, 16, 32)},
            "arm": {"kind": "vector", "channels": 3, "samples": SAMPLES, "widths": (32, 32, 32)},
        },
    }
)
MODEL = SETTINGS.model_for


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "two.mcap"
    return write_recording(path, episodes=2, seconds=SECONDS)


@pytest.fixture(scope="module")
def dataset(recorded: Path) -> Dataset:
    return open_dataset([str(recorded)], MODEL)


@pytest.fixture(scope="module")
def clean(dataset: Dataset) -> Windows:
    return clean_windows(dataset, silent)


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


def test_every_frame_of_every_episode_anchors_a_window(clean: Windows) -> None:
    assert np.bincount(clean.episode).tolist() == [round(SECONDS * CAMERA_HZ)] * 2
    assert clean.images["camera"].shape == (len(clean), 64, 64, 3)
    assert clean.vectors["arm"].shape == (len(clean), SAMPLES, len(CHANNELS))


def test_a_frame_follows_the_one_before_it_in_its_own_episode_only(clean: Windows) -> None:
    count = round(SECONDS * CAMERA_HZ)
    wanted = np.arange(-1, 2 * count - 1)
    wanted[count] = -1
    assert clean.previous["camera"].tolist() == wanted.tolist()


def test_windows_kept_on_disk_are_found_again_until_their_recording_changes(
    recorded: Path, clean: Windows, tmp_path: Path
) -> None:
    path = tmp_path / "two.mcap"
    path.write_bytes(recorded.read_bytes())
    told: list[int] = []

    def read(spec: str) -> Windows:
        told.clear()
        return clean_windows(
            open_dataset([spec], MODEL), lambda *given: told.append(given[1]), tmp_path / "kept"
        )

    for reading in ("first", "again"):
        windows = read(str(path))
        assert bool(told) == (reading == "first")
        assert np.array_equal(windows.images["camera"], clean.images["camera"])
        assert np.array_equal(windows.vectors["arm"], clean.vectors["arm"])
        assert windows.previous["camera"].tolist() == clean.previous["camera"].tolist()
        assert windows.present["arm"].tolist() == clean.present["arm"].tolist()
        assert windows.episode.tolist() == clean.episode.tolist()
    assert len(read(f"{path}#0")) == len(clean) // 2
    assert told
    os.utime(path, ns=(0, 0))
    assert len(read(str(path))) == len(clean)
    assert told


@pytest.mark.parametrize("name", ["camera.frames", "windows.safetensors"])
@pytest.mark.parametrize("left", [None, 0, 100])
def test_windows_damaged_on_disk_are_made_anew(
    dataset: Dataset, clean: Windows, tmp_path: Path, name: str, left: int | None
) -> None:
    clean_windows(dataset, silent, tmp_path)
    if left is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:left])
    again = clean_windows(dataset, silent, tmp_path)
    assert np.array_equal(again.images["camera"], clean.images["camera"])
    assert np.array_equal(again.vectors["arm"], clean.vectors["arm"])


def test_windows_read_by_another_map_are_of_another_origin(
    dataset: Dataset, tmp_path: Path
) -> None:
    recording_map = tmp_path / "map.yaml"
    recording_map.write_text("kind: recording\n")
    origins = {origin_of(dataset.recordings, one, "") for one in (None, recording_map)}
    recording_map.write_text("kind: recording  # and more\n")
    assert origin_of(dataset.recordings, recording_map, "") not in origins
    assert len(origins) == 2


def test_windows_without_a_full_stretch_of_samples_are_marked(clean: Windows) -> None:
    absent = np.flatnonzero(~clean.present["arm"][clean.episode == 0])
    assert absent.tolist() == list(range(len(absent)))
    assert 0 < len(absent) <= np.ceil(SAMPLES / ARM_HZ * CAMERA_HZ) + 1


def test_several_recordings_are_numbered_through(recorded: Path) -> None:
    both = open_dataset([f"{recorded}#1", f"{recorded}#0-1"], MODEL)
    assert [(number, episode.number) for number, _, episode in both.episodes] == [
        (0, 1),
        (1, 0),
        (2, 1),
    ]


def pairs_with(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, *planned: Planned, seed: int = 1
) -> Pairs:
    """The first episode's pairs, with these faults instead of drawn ones."""
    monkeypatch.setattr(injected, "draw_faults", lambda *_: list(planned))
    return faulty_pairs(dataset, "A", seed, silent, [0])


def fault(modality: str, name: str, seconds: float = 1.0) -> Planned:
    return Planned(at_s=2.0, modality=modality, fault=name, severity=0.9, seconds=seconds, seed=4)


def anchors_s(first_s: float, last_s: float) -> int:
    """How many frames were captured from ``first_s`` on and before ``last_s``."""
    times = np.arange(round(SECONDS * CAMERA_HZ)) / CAMERA_HZ
    return int(((times >= first_s - 1e-6) & (times < last_s - 1e-6)).sum())


def test_frames_of_a_fault_are_faulty_and_those_just_after_it_left_out(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_with(dataset, monkeypatch, fault("camera", "black"))
    labels = pairs.faulty_modality
    assert set(labels) == {CAMERA_AT, -1}
    assert (labels == CAMERA_AT).sum() == anchors_s(2, 3)
    left_out = anchors_s(3, 3 + 1.5 / CAMERA_HZ)
    assert left_out > 0
    assert len(labels) == anchors_s(0, SECONDS) - left_out


def test_a_window_is_faulty_once_a_quarter_of_its_samples_is_hit_and_else_left_out(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = pairs_with(dataset, monkeypatch, fault("arm", "drift")).faulty_modality
    quarter, all_s = (SAMPLES / 4 - 1) / ARM_HZ, SAMPLES / ARM_HZ
    longest = 3 + 3 * SAMPLES / 4 / ARM_HZ
    assert (labels == ARM_AT).sum() == anchors_s(2 + quarter, longest)
    left_out = anchors_s(2, 2 + quarter) + anchors_s(longest, 3 + all_s - 1 / ARM_HZ)
    assert left_out > 0
    assert len(labels) == anchors_s(0, SECONDS) - left_out


def test_a_fault_too_short_for_a_quarter_makes_no_window_faulty(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_with(dataset, monkeypatch, fault("arm", "drift", seconds=7 / ARM_HZ))
    assert set(pairs.faulty_modality) == {-1}
    assert len(pairs.faulty_modality) < anchors_s(0, SECONDS)


def test_a_long_window_that_sees_faults_of_two_modalities_is_left_out(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (fault("arm", "drift"), fault("camera", "black"))
    labels = pairs_with(dataset, monkeypatch, *both).faulty_modality
    alone = pairs_with(dataset, monkeypatch, fault("arm", "drift")).faulty_modality
    assert CAMERA_AT not in labels[anchors_s(0, 2) + 1 :]
    assert (labels == ARM_AT).sum() < (alone == ARM_AT).sum()


@pytest.mark.parametrize(
    ("modality", "name"), [("camera", "black"), ("camera", "frozen"), ("arm", "drift")]
)
def test_only_what_is_labelled_faulty_differs_from_its_clean_twin(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, modality: str, name: str
) -> None:
    pairs = pairs_with(dataset, monkeypatch, fault(modality, name))
    hit = pairs.faulty_modality >= 0
    differs = {
        "camera": changed(pairs.clean.images["camera"], pairs.faulty.images["camera"]),
        "arm": changed(pairs.clean.vectors["arm"], pairs.faulty.vectors["arm"]),
    }
    assert not differs["arm" if modality == "camera" else "camera"].any()
    assert not differs[modality][~hit].any()
    assert differs[modality][hit].mean() > 0.9


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    one, other = (x.reshape(len(x), -1) for x in (before, after))
    return np.asarray((one != other).any(1) & ~(np.isnan(one).any(1) & np.isnan(other).any(1)))


def test_each_faulty_window_tells_its_fault_severity_and_effect(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_with(dataset, monkeypatch, fault("arm", "drift"))
    hit = pairs.faulty_modality >= 0
    names = np.array(pairs.fault)
    assert set(names[hit]) == {"arm.drift"}
    assert set(names[~hit]) == {""}
    assert set(pairs.severity[hit]) == {0.9}
    assert (pairs.effect[hit] > 1).all()
    assert not pairs.severity[~hit].any()
    assert not pairs.effect[~hit].any()


def test_a_frame_whose_previous_one_was_left_out_has_none(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_with(dataset, monkeypatch, fault("camera", "black"))
    previous = pairs.clean.previous["camera"]
    after = int(np.flatnonzero(pairs.faulty_modality == CAMERA_AT)[-1]) + 1
    assert np.flatnonzero(previous < 0).tolist() == [0, after]
    rest = np.setdiff1d(np.arange(len(previous)), [0, after])
    assert (previous[rest] == rest - 1).all()


def same(one: Pairs, other: Pairs) -> bool:
    return (one.fault, one.severity.tolist(), one.effect.tolist()) == (
        other.fault,
        other.severity.tolist(),
        other.effect.tolist(),
    ) and all(
        np.array_equal(getattr(one.faulty, kind)[name], getattr(other.faulty, kind)[name], True)
        for kind, name in (("images", "camera"), ("vectors", "arm"))
    )


def test_the_same_seed_gives_the_same_pairs_and_another_others(dataset: Dataset) -> None:
    first, again, other = [faulty_pairs(dataset, "B", seed, silent) for seed in (3, 3, 4)]
    assert same(first, again)
    assert first.severity.tolist() != other.severity.tolist()


def test_an_episode_draws_the_same_faults_whichever_others_are_asked_for(
    dataset: Dataset,
) -> None:
    alone = faulty_pairs(dataset, "A", 3, silent, [1])
    both = faulty_pairs(dataset, "A", 3, silent)
    at = both.clean.episode == 1
    assert alone.severity.tolist() == both.severity[at].tolist()
    assert set(alone.clean.episode) == {1}


def drawn(dataset: Dataset, protocol: str, seed: int = 0) -> Sequence[Planned]:
    return draw_faults(dataset.model, 201.0, protocol, np.random.default_rng(seed))


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_drawn_faults_last_a_second_with_two_clean_ones_between_and_fit_the_episode(
    dataset: Dataset, protocol: str
) -> None:
    faults = drawn(dataset, protocol)
    assert [one.at_s for one in faults] == [2.0 + 3 * at for at in range(len(faults))]
    assert {one.seconds for one in faults} == {1.0}
    assert 197 < faults[-1].end_s <= 200
    assert {one.modality for one in faults} == {"arm", "camera"}


def test_protocol_a_stays_in_the_published_ranges(dataset: Dataset) -> None:
    for one in drawn(dataset, "A"):
        low, high = lookup(
            Kind(dataset.model.modalities[one.modality].kind), one.fault
        ).published_range
        assert low <= one.severity <= high


def test_protocol_b_spans_nearly_all_severities(dataset: Dataset) -> None:
    severities = [one.severity for one in drawn(dataset, "B")]
    assert 0.02 <= min(severities) < 0.2
    assert 0.8 < max(severities) <= 1


def test_episodes_too_short_for_a_fault_are_refused(tmp_path: Path) -> None:
    short = write_recording(tmp_path / "short.mcap", seconds=2.5)
    with pytest.raises(RecordingError, match="long enough"):
        faulty_pairs(open_dataset([str(short)], MODEL), "A", 1, silent)


def test_the_recording_completes_the_models_modalities(recorded: Path) -> None:
    found = completed_modalities({}, open_recording(recorded))
    assert set(found) == {"camera", "arm"}
    assert (found["arm"].channels, found["arm"].names) == (3, CHANNELS)
    assert (found["arm"].units, found["arm"].rate_hz) == (("m", "m", "m"), ARM_HZ)
    assert (found["camera"].kind, found["camera"].rate_hz) == ("image", CAMERA_HZ)


def test_what_is_configured_stays_and_what_is_not_wanted_is_left_out(recorded: Path) -> None:
    wanted = {"arm": SETTINGS.modalities["arm"]}
    found = completed_modalities(wanted, open_recording(recorded))
    assert set(found) == {"arm"}
    assert (found["arm"].samples, found["arm"].widths) == (SAMPLES, (32, 32, 32))


def test_a_modality_that_a_recording_lacks_is_named_with_those_it_has(
    recorded: Path, tmp_path: Path
) -> None:
    wanted = {"lidar": SETTINGS.modalities["arm"]}
    with pytest.raises(RecordingError, match=r"no modality 'lidar' .*camera, arm"):
        completed_modalities(wanted, open_recording(recorded))
    with McapWriter(tmp_path / "arm.mcap", {"arm": MODALITIES["arm"]}) as writer:
        for record in open_recording(f"{recorded}#0").records(Kind.VECTOR):
            writer.write(record)
    with pytest.raises(RecordingError, match=r"arm\.mcap: no modality 'camera' \(has arm\)"):
        open_dataset([str(recorded), str(tmp_path / "arm.mcap")], MODEL)


def test_windows_are_selected_and_joined_with_their_previous_frames(clean: Windows) -> None:
    first = select(clean, np.array([0, 1, 3]))
    assert first.previous["camera"].tolist() == [-1, 0, -1]
    both = joined([first, select(clean, np.array([5, 6]))])
    assert both.previous["camera"].tolist() == [-1, 0, -1, -1, 3]
    assert np.array_equal(both.images["camera"], clean.images["camera"][[0, 1, 3, 5, 6]])
    assert len(both) == 5
