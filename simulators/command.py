"""Mounts the commands of this room."""

import typer

from simulators.broker_commands import inject, record, replay
from simulators.check_command import check
from simulators.demo_command import demo
from simulators.fault_command import faults
from simulators.model_commands import calibrate, evaluate, train
from simulators.recordings.command import info
from simulators.stations.command import simulate


def mount(app: typer.Typer) -> None:
    """Add them to the command line, the most common first."""
    running = (demo, replay, record, info, simulate, inject, faults)
    for command in (*running, train, calibrate, evaluate, check):
        app.command()(command)
