"""The courier of a log, where the simulation has no say: what ends it."""

import numpy as np
import pytest

from stream.exactly_once import LogCourier, LogEvent
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
