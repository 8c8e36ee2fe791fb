"""From the replay command's options to a running replay."""

import time
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from simulators.recordings.open import open_recording, tell_lacking
from simulators.recordings.recording import Recording
from simulators.recordings.timeline import first_time_ns
from simulators.replay import Replay, ReplayOptions, last_will, refuse_busy
from simulators.scenario import Planned, Scenario, plan
from simulators.timing import duration_s
from stream.config import parse, read_mapping
from stream.topics import Topics, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport

LOOPED_S = 3600.0  # a scenario over an endless loop is planned this far


async def play(
    spec: str,
    map_path: Path | None,
    broker: BrokerConfig,
    options: ReplayOptions,
    scenario: Path | None,
    seed: int,
    force: bool,
) -> None:
    """Open everything, refuse a busy station, play."""
    recording = open_recording(spec, map_path)
    tell_lacking(recording)
    total_s = options.seconds or (LOOPED_S if options.loop else duration_s(recording))
    planned = _planned(scenario, seed, total_s, recording)
    topics = topics_for(broker.url)
    if not force:
        async with open_transport(broker) as listener:
            names = [(name, str(one.kind)) for name, one in recording.modalities.items()]
            await refuse_busy(listener, topics, options.station, names)
    await _run(recording, broker, topics, options, planned, total_s)


async def _run(
    recording: Recording,
    broker: BrokerConfig,
    topics: Topics,
    options: ReplayOptions,
    planned: list[Planned],
    total_s: float,
) -> None:
    will = last_will(topics, options.station)
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.completed:.0f} s"))
    async with open_transport(broker, will=will) as transport:
        running = Replay(recording, transport, topics, options)
        await transport.prepare(running.data_topics())
        start_ns = time.time_ns()
        running.plan(planned, _first_ns(recording) if options.keep_times else start_ns)
        with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
            task = bar.add_task("replaying", total=total_s)
            await running.run(start_ns, lambda done_s: bar.update(task, completed=done_s))


def _first_ns(recording: Recording) -> int:
    """Where a replay that keeps the recorded stamps begins in event time."""
    first = next(recording.records(), None)
    return 0 if first is None else first_time_ns(first.reading)


def _planned(
    scenario: Path | None, seed: int, total_s: float, recording: Recording
) -> list[Planned]:
    if scenario is None:
        return []
    parsed = parse(read_mapping(scenario), Scenario, str(scenario))
    return plan(parsed, seed, total_s, recording.modalities)
