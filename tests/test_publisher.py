"""What the broker does not take is counted, and what it was made from is let go all the same."""

import asyncio

from stream.courier import Parcel, PlainCourier
from stream.metrics import Metrics
from stream.publisher import Publisher
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message


def message(payload: bytes) -> Message:
    return Message(topic="faults", key="", payload=payload, content_type="", qos=1)


async def test_a_message_over_the_limit_is_counted_and_the_others_go_out() -> None:
    broker = BrokerConfig(url="memory://publisher", max_message_bytes=1000)
    async with open_transport(broker) as inside, open_transport(broker) as outside:
        await outside.subscribe(["faults"])
        metrics = Metrics()
        courier = PlainCourier(inside, [])
        publisher = Publisher(courier, inside, metrics)
        for payload in (b"first", bytes(5000), b"last"):
            await publisher.put(Parcel(messages=[message(payload)]))
        await publisher.close()
        await publisher.run()
        deliveries = outside.deliveries()
        heard = [(await asyncio.wait_for(anext(deliveries), 5)).payload for _ in range(2)]
    assert heard == [b"first", b"last"]
    assert courier.dropped == {"unpublished": 1}
    assert metrics.registry.get_sample_value("weldfusion_unpublished_total") == 1


async def test_a_publisher_that_is_cancelled_while_a_parcel_comes_in_ends() -> None:
    async with open_transport(BrokerConfig(url="memory://cancelled")) as inside:
        courier = PlainCourier(inside, [])
        courier.interval_s = 60.0
        publisher = Publisher(courier, inside, Metrics())
        running = asyncio.create_task(publisher.run())
        await publisher.put(Parcel())
        await asyncio.sleep(0.01)  # it waits for more by now
        await publisher.put(Parcel())
        running.cancel()
        await asyncio.wait({running}, timeout=5)
        assert running.cancelled()
