"""A station that this worker serves at present: its stages, and the steps they are about to tell.

A worker may lose a station to another one and get it back. Whatever is still under way then belongs
to an earlier `Served` and is dropped: the station goes on from what was remembered and delivered
again.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stream.idleness import Idleness
from stream.ledger import Ledger
from stream.messages import Reading, Rejected, Window
from stream.station import Station
from stream.transports.transport import Delivery, Message

Origin: TypeAlias = tuple[Reading, Delivery]  # what was read last, and the message it came in


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What something that came in led to, in its turn: a window to be judged, or none.

    ``taken_in`` is what the station has to remember of it, ``released`` what need not come again
    once all of this is told. ``caught_up`` says that no backlog explains how its modalities lag.
    """

    taken_in: Mapping[str, Any]
    window: Window | None = None
    caught_up: bool = False
    rejected: Sequence[Rejected] = ()
    origin: Origin | None = None
    letters: Sequence[Message] = ()
    released: Sequence[Delivery] = ()

    def told_by(self, rejected: Rejected) -> Delivery | None:
        """The message that held nothing but this reading, if it is at hand."""
        if self.origin is None or self.origin[0] is not rejected.reading:
            return None
        return self.origin[1]


@dataclass(slots=True, kw_only=True, eq=False)
class Served:
    """One station with what is open of it. ``grant`` is the transport's word for its turn.

    ``told`` is what the taking-in half remembered at the last step told, ``session`` what the
    engine did then.
    """

    station: Station
    idleness: Idleness
    grant: object
    told: Mapping[str, Any]
    session: Mapping[str, Any] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    steps: deque[Step] = field(default_factory=deque)

    def enter(
        self,
        windows: Sequence[Window],
        rejected: Sequence[Rejected],
        origin: Origin | None = None,
    ) -> None:
        """Queue the steps that one addition led to; the last one lets go of what is over."""
        if not windows and not rejected:
            return
        released = self.ledger.release(self.station.aligner.needs)
        caught_up = self.idleness.caught_up
        steps = [
            Step(taken_in=window.memory, window=window, caught_up=caught_up) for window in windows
        ]
        if rejected or released:
            steps.append(
                Step(
                    taken_in=self.station.taken_in(),
                    rejected=rejected,
                    origin=origin,
                    released=released,
                )
            )
        self.steps.extend(steps)

    def refuse(self, letters: Sequence[Message], delivery: Delivery) -> None:
        """Queue a payload that never became a reading."""
        step = Step(taken_in=self.station.taken_in(), letters=letters, released=[delivery])
        self.steps.append(step)

    def tellable(self) -> Iterator[Step]:
        """Take out the steps that wait for no verdict."""
        while self.steps and self.steps[0].window is None:
            yield self.steps.popleft()

    def awaits(self, window: Window) -> bool:
        """Whether a verdict on this window is what is to be told next."""
        return bool(self.steps) and self.steps[0].window is window

    def memory(self) -> dict[str, Any]:
        """Everything to go on from, as of the last step told; plain data."""
        return {"taken_in": self.told, "judged": self.station.judged(), "session": self.session}
