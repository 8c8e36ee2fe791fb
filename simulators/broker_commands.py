"""``weldfusion replay``, ``record`` and ``inject``: what plays a station on a broker."""

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

import typer

from stream.command import Broker, Insecure, MqttVersion, broker_config, fail

Station = Annotated[str, typer.Option(help="Station: enterprise/site/area/line/cell.")]
DEFAULT_STATION = "weldfusion/demo/hall/line/cell"


def replay(
    recording: Annotated[str, typer.Argument(help="A recording; may end in #<episodes>.")],
    to: Annotated[str, typer.Option(help="Broker URL, or a YAML file with kind: broker.")],
    station: Station = DEFAULT_STATION,
    speed: Annotated[
        str, typer.Option(help="A factor, or max for as fast as the broker takes it.")
    ] = "1",
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Keep the recorded stamps, do not read 'now'.")
    ] = False,
    scenario: Annotated[
        Path | None, typer.Option(help="Faults to inject: a file with kind: scenario.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the scenario's random faults.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    map: Annotated[Path | None, typer.Option("--map", help="A file with kind: recording.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Play even where the station already gets data.")
    ] = False,
    insecure: Insecure = False,
    mqtt_version: MqttVersion = None,
) -> None:
    """Play a recording onto a broker as if its station ran now; faults can be injected live.

    Example: weldfusion replay weld.mcap --to mqtt://localhost:1883 --loop
    """
    from simulators.recordings.recording import RecordingError
    from simulators.replay import ReplayError, ReplayOptions
    from simulators.replaying import play
    from simulators.scenario import ScenarioError
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    try:
        options = ReplayOptions(
            station=checked_station(station),
            source=Path(recording).name,
            speed=speed_factor(speed),
            loop=loop,
            keep_times=keep_times,
            seconds=seconds,
        )
        chosen = secrets.randbelow(1 << 31) if seed is None else seed
        if scenario is not None and seed is None:
            typer.echo(f"seed {chosen}")
        broker = broker_config(to, insecure, mqtt_version)
        asyncio.run(play(recording, map, broker, options, scenario, chosen, force))
    except (
        RecordingError,
        ReplayError,
        ScenarioError,
        ConfigError,
        TransportError,
        ValueError,
    ) as error:
        raise fail("replay", error) from error


def record(
    url: Broker,
    out: Annotated[Path, typer.Option(help="The MCAP file to write.")],
    station: Station = DEFAULT_STATION,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    insecure: Insecure = False,
    mqtt_version: MqttVersion = None,
) -> None:
    """Record a station's data topics into an MCAP file until Ctrl-C; opens in Foxglove."""
    from simulators.recorder import record_station
    from simulators.recordings.recording import RecordingError
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    try:
        if out.exists() and not force:
            raise RecordingError(f"--out {out}: the file exists; --force overwrites it")
        broker = broker_config(url, insecure, mqtt_version)
        count = asyncio.run(record_station(broker, checked_station(station), out, seconds))
        typer.echo(f"{out}: {count} messages, {out.stat().st_size / 1e6:.1f} MB")
    except (ConfigError, RecordingError, TransportError, ValueError) as error:
        raise fail("record", error) from error


def inject(
    url: Broker,
    fault: Annotated[
        str, typer.Option(help="MODALITY.FAULT by the station's own name, e.g. camera.occlusion.")
    ],
    station: Station = DEFAULT_STATION,
    severity: Annotated[float, typer.Option(min=0.0, max=1.0, help="0 to 1.")] = 0.5,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long it lasts.")] = 5.0,
    seed: Annotated[int | None, typer.Option(help="Seed of what the fault draws.")] = None,
    insecure: Insecure = False,
    mqtt_version: MqttVersion = None,
) -> None:
    """Inject one fault into a running replay; refused where no replay announces itself."""
    from simulators.injecting import InjectError, require_known, send_injection
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    modality, _, name = fault.partition(".")
    try:
        if not name:
            raise InjectError(f"--fault {fault}: write MODALITY.FAULT, such as camera.occlusion")
        require_known(name)
        document = {
            "modality": modality,
            "fault": name,
            "severity": severity,
            "seconds": seconds,
            "seed": secrets.randbelow(1 << 31) if seed is None else seed,
        }
        broker = broker_config(url, insecure, mqtt_version)
        asyncio.run(send_injection(broker, checked_station(station), document))
        typer.echo(f"{fault}, severity {severity:g}, for {seconds:g} s")
    except (ConfigError, InjectError, TransportError, ValueError) as error:
        raise fail("inject", error) from error


def speed_factor(text: str) -> float:
    """``max`` is 0, which waits for nothing; raises ValueError."""
    if text == "max":
        return 0.0
    try:
        factor = float(text)
    except ValueError:
        factor = -1.0
    if not 0 < factor <= 1000:
        raise ValueError(f"--speed {text}: give a factor such as 0.5 or 4, or max")
    return factor


def checked_station(station: str) -> str:
    """The same path; raises ValueError where it is no ISA-95 path of five segments."""
    import re

    from stream.config import STATION_PATTERN

    if not re.fullmatch(STATION_PATTERN, station):
        raise ValueError(
            f"--station {station!r}: five segments of letters, digits, _ and -, as in "
            "acme/plant1/hall2/line3/cell4"
        )
    return station
