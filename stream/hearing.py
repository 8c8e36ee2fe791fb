"""What a station says beside its windows: how much was refused, how much a payload holds. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from stream.messages import Heard, Reading, Samples, Window

_Refused: TypeAlias = tuple[int, int, str, str]  # epoch, time, modality, label
NOT_MALFORMED = frozenset({"late", "duplicate", "overflow", "jump"})


class Hearing:
    """Counts what happens between one window and the next, and gives it to that window.

    A refusal counts at the event time that its modality had reached: which window it belongs to
    does not depend on how the deliveries of the modalities interleave.
    """

    def __init__(self, modalities: Iterable[str]) -> None:
        self._payload = dict.fromkeys(modalities, 1)
        self._refused = Counter[_Refused]()  # samples; summed, for windows may be long in coming

    def hear(self, reading: Reading) -> None:
        """Learn how many samples a payload of a modality holds."""
        if isinstance(reading, Samples):
            self._payload[reading.modality] = len(reading.times_ns)

    def refuse(self, modality: str, reason: str, samples: int, reached: tuple[int, int]) -> None:
        """Count refused samples; ``reached`` is the epoch and time that their modality has."""
        label = reason if reason in NOT_MALFORMED else "malformed"
        self._refused[(*reached, modality, label)] += samples

    def refuse_payload(self, modality: str, reason: str, reached: tuple[int, int]) -> None:
        """Count a payload that never became a reading, as if it held what the others hold."""
        self.refuse(modality, reason, self._payload[modality], reached)

    def take(self, window: Window, lags_ns: Mapping[str, int]) -> Heard:
        """What was heard up to this window and not taken before."""
        until = (window.epoch, window.anchor_ns)
        refused: dict[str, Counter[str]] = {}
        for one in [one for one in self._refused if one[:2] <= until]:
            *_, modality, label = one
            refused.setdefault(modality, Counter())[label] += self._refused.pop(one)
        return Heard(refused=refused, payload=dict(self._payload), lags_ns=lags_ns)

    def snapshot(self) -> dict[str, Any]:
        """Its memory as plain data."""
        refused = [[*one, samples] for one, samples in self._refused.items()]
        return {"payload": dict(self._payload), "refused": refused}

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        self._payload = dict(memory["payload"])
        self._refused = Counter(
            {
                (epoch, time_ns, modality, label): samples
                for epoch, time_ns, modality, label, samples in memory["refused"]
            }
        )
