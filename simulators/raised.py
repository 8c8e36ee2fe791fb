"""The alarms that a worker would have raised on one episode, from the scores of its windows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.alarm_figures import Raised
from stream.alarms import AlarmRule, Alarms, Condition, Observation, Transition


def raised_alarms(
    episode: int,
    anchors_ns: Sequence[int],
    scores: Mapping[str, NDArray[np.float64]],
    rules: Mapping[str, AlarmRule],
    limit: float = 1.0,
) -> list[Raised]:
    """Return every raising of a learnt condition, by the state machine that the worker runs.

    ``scores[modality]`` (N,) belong to ``anchors_ns`` (N,), event times in order; an alarm is due
    from the score ``limit`` on.
    """
    alarms = Alarms(rules)
    changes = [
        change
        for at, time_ns in enumerate(anchors_ns)
        for modality in sorted(scores)
        for change in alarms.add(
            Observation(
                modality=modality,
                condition=Condition.SIGNAL,
                score=float(scores[modality][at]) / limit,
                time_ns=int(time_ns),
            )
        )
    ]
    return [
        Raised(episode=episode, modality=change.modality, raised_s=change.time_ns / 1e9)
        for change in changes
        if change.transition is Transition.RAISED
    ]
