"""Keeps the modalities of a station together: only one that is ahead is paused."""

from stream.courier import Courier
from stream.inputs import Inputs
from stream.station import Station
from stream.transports.transport import Transport


class Balance:
    """Pauses and resumes topics as the aligners' budgets ask for it."""

    def __init__(self, transport: Transport, courier: Courier, inputs: Inputs) -> None:
        self._transport, self._courier, self._inputs = transport, courier, inputs
        self._paused: dict[tuple[str, str], list[str]] = {}

    def settle(self, station: Station) -> None:
        """Pause what is over its budget and ahead; resume what no longer is."""
        wanted = station.aligner.to_pause()
        for name in wanted:
            if (station.id, name) not in self._paused:
                topics = self._inputs.topics_of(station.id, name)
                self._paused[(station.id, name)] = [
                    topic for topic in topics if self._transport.pause(topic)
                ]
        for key in [key for key in self._paused if key[0] == station.id and key[1] not in wanted]:
            for topic in self._paused.pop(key):
                self._transport.resume(topic)

    def exhausted(self, station: Station, modality: str) -> bool:
        """Whether a modality's source has nothing more to give and is not held back by us."""
        topics = self._inputs.topics_of(station.id, modality)
        return (
            self._transport.connected
            and not self._paused.get((station.id, modality))
            and all(self._transport.exhausted(topic) for topic in topics)
            and not any(self._courier.holds(topic) for topic in topics)
        )
