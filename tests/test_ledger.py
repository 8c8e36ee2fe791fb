from collections.abc import Callable

import numpy as np

from stream.ledger import Ledger
from stream.messages import Samples
from stream.transports.transport import Delivery


def samples(*times_ns: int) -> Samples:
    return Samples(
        modality="kinematics",
        times_ns=np.array(times_ns, np.int64),
        values=np.zeros((len(times_ns), 1)),
    )


def needed(*times_ns: int) -> Callable[[str, int], bool]:
    return lambda modality, time_ns: time_ns in times_ns


def test_a_batch_is_kept_while_any_of_its_samples_is_needed() -> None:
    ledger, delivery = Ledger(), Delivery(topic="t", payload=b"")
    ledger.enter(samples(1, 2, 3), delivery)
    assert ledger.release(needed(1)) == []
    assert ledger.release(needed(3)) == []
    assert ledger.release(needed()) == [delivery]
    assert len(ledger) == 0


def test_deliveries_are_released_in_the_order_they_came_and_none_twice() -> None:
    ledger = Ledger()
    deliveries = [Delivery(topic=str(at), payload=b"") for at in range(4)]
    for at, delivery in enumerate(deliveries):
        ledger.enter(samples(at), delivery)
    assert ledger.release(needed(2, 3)) == deliveries[:2]
    assert ledger.release(needed(2, 3)) == []
    assert ledger.release(needed()) == deliveries[2:]
