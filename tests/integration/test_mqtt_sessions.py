"""A session for each station on Mosquitto itself."""

import uuid

import pytest

from stream.transports.broker import BrokerConfig
from stream.transports.mqtt_sessions import MqttSessions, inflight_needed
from stream.transports.open import open_transport
from stream.transports.transport import Message
from tests.integration.sites import take

pytestmark = pytest.mark.real_broker
INFLIGHT = 28


def sessions(url: str, *stations: str) -> MqttSessions:
    """One worker's sessions; its wills say which station is gone."""
    wills = {one: Message(topic=f"{one}/state", payload=b"gone", retain=True) for one in stations}
    config = BrokerConfig(url=url, client_id="w")
    return MqttSessions(config, wills, dict.fromkeys(stations, INFLIGHT))


def plant() -> tuple[str, str]:
    """Two stations that no other test knows."""
    name = uuid.uuid4().hex[:8]
    return f"{name}/one", f"{name}/two"


async def test_what_waits_for_a_station_moves_with_it_to_another_worker(mosquitto: str) -> None:
    one, two = plant()
    async with sessions(mosquitto, one, two) as both:
        await both.subscribe([f"{one}/in", f"{two}/in"])
    async with open_transport(BrokerConfig(url=mosquitto)) as sensor:
        for number in range(3):
            for station in (one, two):
                await sensor.publish(Message(topic=f"{station}/in", payload=b"%d" % number))
    async with sessions(mosquitto, two) as elsewhere:
        moved = await take(elsewhere, 3)
    async with sessions(mosquitto, one) as here:
        stayed = await take(here, 3)
    assert [(d.topic, d.payload) for d in moved] == [(f"{two}/in", b"%d" % n) for n in range(3)]
    assert [(d.topic, d.payload) for d in stayed] == [(f"{one}/in", b"%d" % n) for n in range(3)]


async def test_each_station_of_a_worker_that_died_is_told_to_be_gone(mosquitto: str) -> None:
    one, two = plant()
    async with open_transport(BrokerConfig(url=mosquitto)) as mes:
        await mes.subscribe([f"{station}/state" for station in (one, two)])
        async with sessions(mosquitto, one, two) as dying:
            for session in dying._sessions.values():
                session._client._sock_close()  # as if its process were no more
            gone = await take(mes, 2)
    assert {(d.topic, d.payload) for d in gone} == {(f"{s}/state", b"gone") for s in (one, two)}


async def test_a_station_publishes_through_its_own_session(mosquitto: str) -> None:
    one, two = plant()
    async with (
        open_transport(BrokerConfig(url=mosquitto)) as mes,
        sessions(mosquitto, one, two) as worker,
    ):
        await mes.subscribe([f"{one}/#", f"{two}/#", "elsewhere"])
        for topic in (f"{two}/b", f"{one}/a", "elsewhere"):
            await worker.publish(Message(topic=topic, payload=b"x"))
        assert [d.topic for d in await take(mes, 3)] == [f"{two}/b", f"{one}/a", "elsewhere"]


def test_the_inflight_need_grows_with_the_rates_and_the_journals_interval() -> None:
    assert inflight_needed([125.0, 15.0], written_every_s=0.05) == INFLIGHT
    assert inflight_needed([125.0], written_every_s=0.45) == 125
