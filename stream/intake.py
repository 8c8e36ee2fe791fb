"""Deliveries to readings: routed and read at once, images decoded in a small pool meanwhile."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from stream.config import StationSettings
from stream.images import decode, fit
from stream.inputs import Inputs, Route
from stream.messages import Frame, Malformed, Reading
from stream.transports.transport import Delivery

DECODERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A delivery on its way to its aligner; ``reading`` raises Malformed where it is none."""

    delivery: Delivery
    route: Route | None
    reading: asyncio.Future[Reading]

    @property
    def source(self) -> tuple[str, str]:
        """Station and modality, empty where it belongs to none."""
        return (self.route.station, self.route.modality) if self.route else ("", "")


class Intake:
    """Prepares deliveries in their order; needs a running event loop."""

    def __init__(
        self, inputs: Inputs, stations: Iterable[StationSettings], max_pixels: int
    ) -> None:
        self._inputs, self._max_pixels = inputs, max_pixels
        self._sizes_px = {
            (station.id, name): modality.size_px
            for station in stations
            for name, modality in station.modalities.items()
        }
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    def prepare(self, delivery: Delivery) -> Prepared:
        """Begin to turn a delivery into a reading."""
        route = None
        try:
            route = self._inputs.route(delivery)
            found = self._inputs.read(route, delivery)
        except Malformed as error:
            return Prepared(delivery=delivery, route=route, reading=_failed(error))
        if isinstance(found, Frame):
            size_px = self._sizes_px[route.station, route.modality]
            decoding = asyncio.get_running_loop().run_in_executor(
                self._decoders, decoded, found, size_px, self._max_pixels
            )
            return Prepared(delivery=delivery, route=route, reading=asyncio.ensure_future(decoding))
        return Prepared(delivery=delivery, route=route, reading=_done(found))

    def close(self) -> None:
        """End the pool."""
        self._decoders.shutdown()


def decoded(frame: Frame, size_px: tuple[int, int], max_pixels: int) -> Frame:
    """The frame with its pixels, at the size that the station works with; raises Malformed."""
    return replace(frame, pixels=fit(decode(frame.data, max_pixels), size_px))


def _done(reading: Reading) -> asyncio.Future[Reading]:
    future: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
    future.set_result(reading)
    return future


def _failed(error: Malformed) -> asyncio.Future[Reading]:
    future: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future
