from dataclasses import replace

import numpy as np
import pytest

from stream.gate import GatedLatent, LatentState, Verdict, gate
from stream.messages import ClosedBy, Frame, ImageView, VectorView, View, Window

FRAME = Frame(modality="camera", time_ns=1, data=b"", format="jpeg")
CLEAN = {"camera": np.full(3, 1, np.float32), "arm": np.full(2, 2, np.float32)}
REPAIRED = {"camera": np.full(3, -1, np.float32), "arm": np.full(2, -2, np.float32)}


def verdict(
    camera_present: bool = True,
    arm_present: bool = True,
    scores: dict[str, float] | None = None,
    model: bool = True,
) -> Verdict:
    views: dict[str, View] = {
        "camera": ImageView(
            frame=FRAME if camera_present else None, previous=None, skew_ns=0, largest_gap_ns=0
        ),
        "arm": VectorView(
            values=np.zeros((4, 2)),
            supported=np.full(4, arm_present),
            skew_ns=0,
            largest_gap_ns=0,
            readings=4,
        ),
    }
    window = Window(
        station="a/b/c/d/e", epoch=0, anchor_ns=1, closed_by=ClosedBy.WATERMARK, views=views
    )
    if not model:
        return Verdict(window=window)
    return Verdict(window=window, latents=CLEAN, corrected=REPAIRED, scores=scores or {})


def states(gated: dict[str, GatedLatent]) -> dict[str, LatentState]:
    return {name: one.state for name, one in gated.items()}


def test_clean_latents_bypass_the_corrector_bit_for_bit() -> None:
    gated = gate(verdict(scores={"camera": 0.99, "arm": 0.0}))
    assert states(gated) == {"camera": LatentState.BYPASSED, "arm": LatentState.BYPASSED}
    assert all(gated[name].values is CLEAN[name] for name in CLEAN)


@pytest.mark.parametrize("score", [1.0, 7.0])
def test_a_faulty_latent_is_replaced_and_the_other_is_not_touched(score: float) -> None:
    gated = gate(verdict(scores={"camera": score, "arm": 0.2}))
    assert states(gated) == {"camera": LatentState.CORRECTED, "arm": LatentState.BYPASSED}
    assert gated["camera"].values is REPAIRED["camera"]
    assert gated["arm"].values is CLEAN["arm"]
    assert gated["camera"].score == score


def test_an_absent_modality_is_imputed_from_the_others_whatever_its_score() -> None:
    gated = gate(verdict(camera_present=False, scores={"camera": 0.0}))
    assert states(gated) == {"camera": LatentState.IMPUTED, "arm": LatentState.BYPASSED}
    assert gated["camera"].values is REPAIRED["camera"]


def test_where_nothing_is_present_nothing_is_made_up() -> None:
    gated = gate(verdict(camera_present=False, arm_present=False))
    assert set(states(gated).values()) == {LatentState.UNAVAILABLE}
    assert all(one.values.size == 0 for one in gated.values())


def test_a_window_that_was_skipped_says_so_of_every_modality() -> None:
    gated = gate(replace(verdict(model=False), skipped=True))
    assert set(states(gated).values()) == {LatentState.SKIPPED}
    assert all(one.values.size == 0 for one in gated.values())


def test_what_is_faulty_or_absent_and_was_not_corrected_has_no_latent() -> None:
    faulty = replace(verdict(arm_present=False, scores={"camera": 2.0}), corrected={})
    gated = gate(faulty)
    assert set(states(gated).values()) == {LatentState.UNCORRECTED}
    assert all(one.values.size == 0 for one in gated.values())


def test_without_a_model_every_latent_is_unavailable() -> None:
    gated = gate(verdict(model=False))
    assert set(states(gated).values()) == {LatentState.UNAVAILABLE}
    assert all(one.values.size == 0 for one in gated.values())
