"""The aligner beside the bare loop that one would write without watermarks.

Both take the same readings, 125 Hz of 18 channels and 15 frames a second in order of time, and give
a window of 32 interpolated samples for each frame.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import median

import numpy as np

from stream.aligner import Aligner, AlignerSpec
from stream.lanes import AlignedModality
from stream.messages import Floats, Frame, Kind, Reading, Samples, Window
from stream.tracks import Timing

SECONDS = 30
SENSOR_HZ, FRAME_HZ = 125, 15
CHANNELS, STEPS = 18, 32
PERIOD_NS = 1_000_000_000 // SENSOR_HZ
START_NS = 1_700_000_000_000_000_000
REPETITIONS = 21
SPEC = AlignerSpec(
    station="a/b/c/d/e",
    modalities={
        "camera": AlignedModality(
            kind=Kind.IMAGE,
            timing=Timing(period_ns=1_000_000_000 // FRAME_HZ, out_of_order_ns=50_000_000),
        ),
        "joints": AlignedModality(
            kind=Kind.VECTOR,
            timing=Timing(
                period_ns=PERIOD_NS,
                out_of_order_ns=50_000_000,
                samples=STEPS,
                max_gap_ns=4 * PERIOD_NS,
            ),
            channels=CHANNELS,
        ),
    },
    anchor="camera",
    anchor_period_ns=1_000_000_000 // FRAME_HZ,
    budget_bytes=1 << 30,
)


class BareLoop:
    """A preallocated ring of samples; each frame takes its window from what is there."""

    def __init__(self) -> None:
        self._times = np.zeros(1024, np.int64)
        self._values = np.zeros((1024, CHANNELS))
        self._end = 0
        self._offsets_ns = -np.arange(STEPS - 1, -1, -1) * PERIOD_NS
        self._previous: Frame | None = None

    def add_samples(self, samples: Samples) -> None:
        count = len(samples.times_ns)
        if self._end + count > len(self._times):
            self._times[: STEPS * 2] = self._times[self._end - STEPS * 2 : self._end]
            self._values[: STEPS * 2] = self._values[self._end - STEPS * 2 : self._end]
            self._end = STEPS * 2
        end = self._end + count
        self._times[self._end : end] = samples.times_ns
        self._values[self._end : end] = samples.values
        self._end = end

    def add_frame(self, frame: Frame) -> tuple[Frame, Frame | None, Floats]:
        first = max(self._end - STEPS * 2, 0)
        times, values = self._times[first : self._end], self._values[first : self._end]
        grid = self._offsets_ns + frame.time_ns
        right = np.searchsorted(times, grid).clip(1, len(times) - 1)
        left = right - 1
        weight = (grid - times[left]) / (times[right] - times[left])
        low = values[left]
        window = low + (values[right] - low) * weight.clip(0, 1)[:, None]
        previous, self._previous = self._previous, frame
        return frame, previous, window


def readings(batch: int, frames_ahead_s: float = 0.0, seconds: float = SECONDS) -> list[Reading]:
    """A recording in order of arrival, the frames arriving this much earlier than the samples."""
    rng = np.random.default_rng(0)
    count = round(seconds * SENSOR_HZ)
    jitter = rng.integers(-PERIOD_NS // 8, PERIOD_NS // 8, count)
    times = START_NS + np.arange(count) * PERIOD_NS + jitter
    values = rng.normal(size=(count, CHANNELS)).cumsum(axis=0)
    arrivals: list[tuple[float, Reading]] = []
    for at in range(0, count, batch):
        cut = slice(at, at + batch)
        samples = Samples(modality="joints", times_ns=times[cut], values=values[cut])
        arrivals.append((samples.time_ns, samples))
    for at in range(round(seconds * FRAME_HZ)):
        time_ns = START_NS + (at * 1_000_000_000) // FRAME_HZ + 300_000_000
        frame = Frame(modality="camera", time_ns=time_ns, data=b"", format="jpeg")
        arrivals.append((time_ns - frames_ahead_s * 1e9, frame))
    return [reading for _, reading in sorted(arrivals, key=lambda arrival: arrival[0])]


def run_aligner(order: list[Reading]) -> int:
    """How many windows the aligner gives."""
    aligner = Aligner(SPEC)
    windows = 0
    for reading in order:
        for output in aligner.add(reading):
            windows += isinstance(output, Window)
    return windows


def run_bare_loop(order: list[Reading]) -> int:
    """How many windows the bare loop gives."""
    loop = BareLoop()
    windows: deque[object] = deque(maxlen=16)
    count = 0
    for reading in order:
        if isinstance(reading, Samples):
            loop.add_samples(reading)
        else:
            windows.append(loop.add_frame(reading))
            count += 1
    return count


def _rate(run: Callable[[list[Reading]], int], order: list[Reading]) -> float:
    begun = time.process_time()
    windows = run(order)
    return windows / (time.process_time() - begun)


def _ratio(
    run: Callable[[list[Reading]], int],
    order: list[Reading],
    other: Callable[[list[Reading]], int],
    other_order: list[Reading],
) -> float:
    """Median of ratios of rates, each pair measured one after the other."""
    return median(_rate(run, order) / _rate(other, other_order) for _ in range(REPETITIONS))


def measure() -> dict[str, object]:
    """Ratios of windows a second: aligner to bare loop, long to short backlog."""
    over_bare = {
        f"batch_{batch}": _ratio(run_aligner, order, run_bare_loop, order)
        for batch in (1, 25)
        for order in [readings(batch)]
    }
    return {
        "aligner_over_bare_loop": over_bare,
        "aligner_large_over_small_buffer": min(_far_over_near(1.0), _far_over_near(-1.0)),
    }


def _far_over_near(frames_ahead_s: float) -> float:
    """The same readings, with one modality ahead of the other by so much, and 100 times more."""
    near = readings(25, frames_ahead_s, seconds=120.0)
    far = readings(25, 100 * frames_ahead_s, seconds=120.0)
    return _ratio(run_aligner, far, run_aligner, near)


if __name__ == "__main__":
    print(measure())
