"""The front door: one command line that mounts each room's commands."""

import typer

import simulators.command
import stream.command

app = typer.Typer(
    name="weldfusion",
    help="Fuse a robot station's streams, tell which sensor is lying, repair it, tell the MES.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
stream.command.mount(app)
simulators.command.mount(app)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
