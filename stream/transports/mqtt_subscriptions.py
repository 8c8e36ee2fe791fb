"""Which filters were asked for, and which the broker has agreed to."""

import asyncio

from paho.mqtt.reasoncodes import ReasonCode


class Subscriptions:
    """Filters that survive reconnects; lives on the event loop."""

    def __init__(self) -> None:
        self._confirmed: dict[str, bool] = {}
        self._refused: set[str] = set()
        self._pending: dict[str, asyncio.Future[str]] = {}
        self._sent: dict[int, tuple[str, ...]] = {}

    @property
    def all_confirmed(self) -> bool:
        """Whether the broker has agreed to every filter, those apart that it refused anew."""
        return all(done or topic in self._refused for topic, done in self._confirmed.items())

    def ask(self, topic: str) -> asyncio.Future[str]:
        """Remember a filter; the future gives "" or the reason of its refusal."""
        self._confirmed[topic] = False
        return self._pending.setdefault(topic, asyncio.get_running_loop().create_future())

    def sent(self, mid: int, topics: tuple[str, ...]) -> None:
        """Remember which filters a request named."""
        self._sent[mid] = topics

    def unconfirmed(self) -> list[str]:
        """Give the filters that the broker has still to agree to."""
        return [topic for topic, confirmed in self._confirmed.items() if not confirmed]

    def connection_lost(self) -> None:
        """Forget the requests that will have no answer, and ask anew for what was refused."""
        self._sent.clear()
        self._refused.clear()

    def session_lost(self) -> None:
        """Every filter has to be asked for again."""
        self._confirmed = dict.fromkeys(self._confirmed, False)

    def answer(self, mid: int, reasons: list[ReasonCode]) -> dict[str, str]:
        """Take the broker's answer to one request, a reason for each of its filters.

        Give the reasons of refusals that nobody waits for: after a reconnect, of filters that it
        once agreed to. They are asked for again with every connection.
        """
        unheard: dict[str, str] = {}
        for topic, reason in zip(self._sent.pop(mid, ()), reasons, strict=False):
            refusal = str(reason) if reason.is_failure else ""
            self._confirmed[topic] = not refusal
            waiting = self._pending.pop(topic, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(refusal)
                if refusal:
                    del self._confirmed[topic]
            elif refusal:
                self._refused.add(topic)
                unheard[topic] = refusal
        return unheard

    def close(self, reason: str) -> None:
        """Refuse whatever still waits."""
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_result(reason)
        self._pending.clear()
