"""``weldfusion check``: every mistake of a configuration file at once."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from stream.command import fail


def check(
    file: Annotated[Path, typer.Argument(help="A YAML file with a kind: key at its top.")],
) -> None:
    """Check a configuration file: worker, bridge, broker, train, scenario or recording.

    Every wrong key is named with its path; no file that it names is opened.
    """
    from stream.config import ConfigError, parse, read_mapping

    try:
        content = read_mapping(file)
        kinds = settings_by_kind()
        kind = content.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            known = ", ".join(sorted(kinds))
            raise ConfigError(str(file), [f"kind: {kind!r} is none of {known}"])
        parse(content, kinds[kind], str(file))
    except ConfigError as error:
        raise fail("check", error) from error
    typer.echo(f"{file}: a valid {kind} configuration")


def settings_by_kind() -> dict[str, type[BaseModel]]:
    """What each kind of file is read as."""
    from simulators.recordings.mapping import RecordingMap
    from simulators.scenario import Scenario
    from simulators.training import TrainSettings
    from stream.config import BridgeSettings, BrokerSettings, WorkerSettings

    return {
        "worker": WorkerSettings,
        "bridge": BridgeSettings,
        "broker": BrokerSettings,
        "train": TrainSettings,
        "scenario": Scenario,
        "recording": RecordingMap,
    }
