from dataclasses import replace

import numpy as np
import pytest
import torch

from model.windows import chunks
from tests.test_model_synthetic import corrupt, station


def test_take_gives_each_window_with_the_frame_before_it():
    windows = station(2, 4, seed=1)
    batch = windows.take(np.array([4, 6]))
    assert len(batch) == 2
    assert batch.has_previous["camera"].tolist() == [False, True]
    expected = torch.from_numpy(windows.images["camera"][5])
    assert torch.equal(batch.previous["camera"][1], expected)
    assert batch.images["camera"].dtype == torch.uint8
    assert batch.vectors["arm"].shape == (2, 32, 8)


def test_take_of_one_modality_leaves_the_others_alone():
    batch = station(1, 3, seed=1).take(np.array([0]), ["arm"])
    assert not batch.images
    assert set(batch.present) == {"arm"}


def test_arrays_of_different_length_are_refused_by_name():
    windows = station(1, 4, seed=1)
    with pytest.raises(ValueError, match=r"vectors\.arm: 3 windows, episode 4"):
        replace(windows, vectors={"arm": windows.vectors["arm"][:3]})


def test_a_modality_without_presence_is_refused():
    windows = station(1, 4, seed=1)
    with pytest.raises(ValueError, match="present"):
        replace(windows, present={"arm": windows.present["arm"]})


def test_pairs_of_different_length_are_refused():
    pairs = corrupt(0)
    with pytest.raises(ValueError, match="severity: 3 pairs"):
        replace(pairs, severity=pairs.severity[:3])


def test_chunks_cover_everything_once():
    assert [part.tolist() for part in chunks(5, 2)] == [[0, 1], [2, 3], [4]]
    assert chunks(0, 2) == []
