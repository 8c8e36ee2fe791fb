"""A picture of the whole catalogue: what each fault does to a frame, a signal or a stream."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from simulators.faults.parts import Signal
from simulators.faults.registry import Fault, Outgoing, catalogue, fault_names, start
from stream.images import fit
from stream.messages import Floats, Kind, Pixels, Samples

SEVERITIES = (0.25, 0.6, 1.0)
PLOTTED_SEVERITY = 0.6
IMAGE_SEED, STREAM_SEED = 5, 5
TILE_PX = 168
GAP_PX = 8
LABEL_PX = 20
BLOCK_PX = len(SEVERITIES) * (TILE_PX + GAP_PX)
PLOT_PX, STRIP_PX = 120, 84
ONSET_S = 0.5
STRIP_S = 5.0
STRIP_HZ = 10
PAPER, INK, BEFORE, AFTER = (250,) * 3, (40,) * 3, (150,) * 3, (200, 40, 30)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What the faults are shown on.

    ``frames`` come at ``frame_hz`` and end with the one that is shown; ``values`` (n, channels)
    are a stretch of the signal at its own rate.
    """

    frames: Sequence[Pixels]
    frame_hz: float
    values: Floats
    signal: Signal


def contact_sheet(material: Material) -> Pixels:
    """Draw every fault, uint8 RGB: frames at severities .25, .6 and 1, the others at .6."""
    sections: list[tuple[Kind | None, Callable[[Fault], Pixels]]] = [
        (Kind.IMAGE, lambda entry: _tiles(entry, material)),
        (Kind.VECTOR, lambda entry: _plot(entry, material)),
        (None, _strip),
    ]
    rows = []
    for kind, draw in sections:
        entries = [catalogue()[kind, name] for name in fault_names(kind)]
        blocks = [_labelled(entry, draw(entry)) for entry in entries]
        if len(blocks) % 2:
            blocks.append(np.full_like(blocks[-1], 250))
        rows += [np.hstack(blocks[at : at + 2]) for at in range(0, len(blocks), 2)]
    return np.asarray(np.vstack(rows), np.uint8)


def _labelled(entry: Fault, drawing: Pixels) -> Pixels:
    label = _paper(LABEL_PX)
    _write(label, f"{entry.name} ({entry.origin}): {entry.parameter}", (2, 14))
    return np.vstack([label, drawing, _paper(GAP_PX)])


def _tiles(entry: Fault, material: Material) -> Pixels:
    gap = np.full((TILE_PX, GAP_PX, 3), 250, np.uint8)
    parts = []
    for severity in SEVERITIES:
        parts += [fit(_last_frame(entry, severity, material), (TILE_PX, TILE_PX)), gap]
    return np.hstack(parts)


def _last_frame(entry: Fault, severity: float, material: Material) -> Pixels:
    """The last frame a second after the onset, after all that the fault remembers."""
    injector = start(Kind.IMAGE, entry.name, severity, IMAGE_SEED)
    count = len(material.frames)
    onset = count - 1 - round(material.frame_hz)
    first = max(onset - round(entry.memory_s * material.frame_hz), 0)
    shown = material.frames[-1]
    for at in range(first, count):
        shown = injector(material.frames[at], (at - onset) / material.frame_hz)
    return shown


def _plot(entry: Fault, material: Material) -> Pixels:
    """One channel that is hit, grey as it was and red as it is shown, over the stretch."""
    seconds = np.arange(len(material.values)) / material.signal.rate_hz - ONSET_S
    seed = fault_names(Kind.VECTOR).index(entry.name)  # so that all parts are struck somewhere
    injector = start(Kind.VECTOR, entry.name, PLOTTED_SEVERITY, seed, material.signal)
    after = material.values.copy()
    hit = seconds >= 0
    after[hit] = injector(material.values[hit], seconds[hit])
    struck = entry.struck(seed, material.signal)
    changed = np.abs(after - material.values).sum(axis=0)[struck.measured]
    column = struck.measured[int(changed.argmax())]
    both = np.stack([material.values[:, column], after[:, column]])
    low, high = float(both.min()), float(both.max())
    drawn = _paper(PLOT_PX)
    across = np.linspace(GAP_PX, BLOCK_PX - 2 * GAP_PX, both.shape[1])
    for line, colour in zip(both, (BEFORE, AFTER), strict=True):
        down = PLOT_PX - 8 - (line - low) / max(high - low, 1e-9) * (PLOT_PX - 24)
        points = np.rint(np.stack([across, down], axis=1)).astype(np.int32)
        cv2.polylines(drawn, [points], False, colour, 1, cv2.LINE_AA)
    name = material.signal.names[column] if material.signal.names else f"channel {column}"
    _write(drawn, f"{struck.part}: {name}", (GAP_PX, 11))
    return drawn


def _strip(entry: Fault) -> Pixels:
    """Lines from when a message is due (above) to when it is sent and, below, how it is stamped.

    What nobody can read is a cross.
    """
    injector = start(None, entry.name, PLOTTED_SEVERITY, STREAM_SEED)
    drawn = _paper(STRIP_PX)
    rows = {"due": 14, "sent": 44, "stamp": 74}
    for name, down in rows.items():
        _write(drawn, name, (2, down + 4))
    for at in range(round(STRIP_S * STRIP_HZ)):
        seconds = at / STRIP_HZ
        time_ns = round(seconds * 1e9)
        reading = Samples(modality="", times_ns=np.array([time_ns]), values=np.zeros((1, 1)))
        due = Outgoing(reading=reading, due_ns=time_ns)
        sent = injector(due, seconds - ONSET_S) if seconds >= ONSET_S else [due]
        _dot(drawn, _across(seconds), rows["due"], BEFORE)
        for one in sent:
            place, stamp = _across(one.due_ns / 1e9), _across(one.reading.time_ns / 1e9)
            cv2.line(drawn, (_across(seconds), 16), (place, 42), BEFORE, 1, cv2.LINE_AA)
            if one.payload is None:
                _dot(drawn, place, rows["sent"], AFTER)
                cv2.line(drawn, (place, 46), (stamp, 72), BEFORE, 1, cv2.LINE_AA)
                _dot(drawn, stamp, rows["stamp"], AFTER)
            else:
                cv2.drawMarker(drawn, (place, rows["sent"]), INK, cv2.MARKER_TILTED_CROSS, 7, 1)
    return drawn


def _across(seconds: float) -> int:
    share = min(max(seconds / (STRIP_S + 2), 0.0), 1.0)
    return round(56 + share * (BLOCK_PX - 72))


def _dot(drawn: Pixels, across: int, down: int, colour: tuple[int, ...]) -> None:
    cv2.circle(drawn, (across, down), 2, colour, cv2.FILLED, cv2.LINE_AA)


def _paper(height: int) -> Pixels:
    return np.full((height, BLOCK_PX, 3), PAPER[0], np.uint8)


def _write(drawn: Pixels, text: str, place: tuple[int, int]) -> None:
    cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, INK, 1, cv2.LINE_AA)
