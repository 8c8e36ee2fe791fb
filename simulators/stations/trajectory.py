"""One trajectory of a station: a stretch with one draw of its surroundings."""

from dataclasses import dataclass

from simulators.recordings.recording import Episode


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """What to simulate: everything random in it follows from ``seed`` and ``number``.

    Capture times lie in [``start_ns``, ``start_ns`` + ``seconds``). ``modalities`` are recorded;
    ``unfamiliar`` draws light, mount and parts beyond the ranges that are usual.
    """

    seed: int
    number: int
    seconds: float
    start_ns: int
    modalities: tuple[str, ...]
    unfamiliar: bool = False

    @property
    def episode(self) -> Episode:
        """The episode it becomes."""
        end_ns = self.start_ns + round(self.seconds * 1e9)
        return Episode(number=self.number, start_ns=self.start_ns, end_ns=end_ns)
