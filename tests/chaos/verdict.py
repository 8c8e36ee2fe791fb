"""What is wrong with what was told, one line for each."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stream.transports.transport import Message
from tests.simulation.story import SECOND, START_NS
from tests.simulation.told import (
    Event,
    Identity,
    Told,
    differences,
    told,
    without_evidence,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong, by its kind, and how many events came again just as they were."""

    wrong: dict[str, list[Identity | Event]]
    redelivered: int = 0
    windows: int = 0
    events: int = 0

    @property
    def figures(self) -> dict[str, int]:
        """Their numbers."""
        counted = {kind: len(items) for kind, items in self.wrong.items()}
        return {"windows": self.windows, "events": self.events, **counted}

    def lines(self) -> list[str]:
        """Every single one: what, where and when in the story."""
        return [f"{kind}: {described(one)}" for kind, items in self.wrong.items() for one in items]


def on_kafka(wanted: Told, messages: Sequence[Message]) -> Verdict:
    """Windows and events are told exactly once."""
    found = told(messages, Told())
    return Verdict(
        wrong=differences(wanted, found),
        windows=len(set(found.windows)),
        events=len(set(found.events)),
    )


def on_mqtt(wanted: Told, messages: Sequence[Message]) -> Verdict:
    """No event is lost; one that comes again says the same, or it counts as duplicated."""
    found = told(messages, Told())
    events = [without_evidence(one) for one in found.events]
    wrong = differences(
        Told(events=[without_evidence(one) for one in wanted.events]),
        Told(events=list(dict.fromkeys(events))),
    )
    contents: dict[str, set[Event]] = {}
    for event in events:
        contents.setdefault(json.loads(event[1])["id"], set()).add(event)
    wrong["duplicated"] = [one for same in contents.values() for one in sorted(same)[1:]]
    return Verdict(
        wrong=wrong,
        redelivered=sum(many - 1 for many in Counter(events).values()),
        windows=len(set(found.windows)),
        events=len(contents),
    )


def described(one: Identity | Event) -> str:
    """Station, modality and the story's second."""
    if len(one) == 3:
        station, epoch, anchor_ns = one
        return f"{station} window, epoch {epoch}, {(anchor_ns - START_NS) / SECOND:.2f} s"
    event = json.loads(one[1])
    data = event["data"]
    facts = f"{event['subject']} {data['transition']}, epoch {data['epoch']}, {event['time']}"
    return f"{event['source'].strip('/')} {facts}, reported {data['reportedValues']}"
