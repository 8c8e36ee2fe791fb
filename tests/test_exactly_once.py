"""The courier of a log, where the simulation has no say: what ends it."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from stream.courier import Granted, Incoming, Parcel, Withdrawn
from stream.exactly_once import Assigned, LogCourier, LogEvent
from stream.transports.transport import Delivery, Message
from tests.simulation.cluster import Cluster, Member


class Torn(Member):
    """A member that cannot go on reading."""

    async def next(self) -> LogEvent | None:
        raise RuntimeError("torn")


async def test_a_reader_that_fails_ends_the_worker_instead_of_leaving_it_deaf() -> None:
    cluster = Cluster(random=np.random.default_rng(1), numbers=1, number_of={})
    async with LogCourier(Torn(cluster), []) as courier:
        with pytest.raises(RuntimeError, match="torn"):
            await anext(courier.incoming())


async def next_of(incoming: AsyncIterator[Incoming], kind: type[Incoming]) -> Incoming:
    """The next thing of a kind, without the others before it."""
    async for one in incoming:
        if isinstance(one, kind):
            return one
    raise AssertionError(f"no {kind} came")


async def test_what_belongs_to_no_station_is_settled_by_whom_it_was_delivered_to() -> None:
    """A number that was lost and claimed anew delivers it again: to settle it then is too early."""
    cluster = Cluster(random=np.random.default_rng(1), numbers=1, number_of={"cell": 0})
    member, letter = Member(cluster), Message(topic="dlq", payload=b"why")
    cluster.append(0, Message(topic="in", payload=b"stray"))
    member.events.append(Assigned(numbers=frozenset({0})))
    async with LogCourier(member, ["cell"]) as courier:
        incoming = courier.incoming()
        stray = await next_of(incoming, Delivery)
        member.events += [Assigned(numbers=frozenset()), Assigned(numbers=frozenset({0}))]
        cluster.grown.set()
        await next_of(incoming, Withdrawn)
        await next_of(incoming, Granted)
        assert isinstance(stray, Delivery)
        await courier.settle([Parcel(messages=[letter], released=[stray])])
        assert cluster.outputs == []
        again = await next_of(incoming, Delivery)
        assert isinstance(again, Delivery)
        await courier.settle([Parcel(messages=[letter], released=[again])])
        assert cluster.outputs == [letter]
        assert cluster.committed[0] == {"in": 1}
