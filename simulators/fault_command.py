"""``weldfusion faults``: the catalogue as a table, and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.command import fail

if TYPE_CHECKING:
    from simulators.contact_sheet import Material

SHOWN_FROM_S, SHOWN_S = 20.0, 4.5  # the stretch of the recording that the sheet shows


def faults(
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of every fault to this PNG.")
    ] = None,
    frame: Annotated[
        Path | None, typer.Option(help="Show the camera's faults on this picture instead.")
    ] = None,
) -> None:
    """List the faults that can be injected: what severity scales, and how far at 1.

    Example: weldfusion faults --sheet faults.png
    """
    from rich.console import Console

    from simulators.recordings.recording import RecordingError

    try:
        if sheet is None:
            if frame is not None:
                raise ValueError("--frame: there is no sheet to show it on; give --sheet too")
            Console().print(_table())
        else:
            _draw(sheet, frame)
            typer.echo(f"{sheet}: every fault, drawn")
    except (OSError, RecordingError, ValueError) as error:
        raise fail("faults", error) from error


def _table() -> object:
    from rich.table import Table

    from simulators.faults.registry import catalogue, fault_names
    from stream.messages import Kind

    table = Table()
    for column in ("kind", "fault", "origin", "severity scales", "published"):
        table.add_column(column, overflow="fold")
    for kind in (*Kind, None):
        for name in fault_names(kind):
            entry = catalogue()[kind, name]
            low, high = entry.published_range
            published = f"{low:.2g}–{high:.2g}" if low < high else f"{high:.2g}"
            table.add_row(kind or "any", name, entry.origin, entry.parameter, published)
        table.add_section()
    return table


def _draw(sheet: Path, frame: Path | None) -> None:
    import cv2

    from simulators.contact_sheet import contact_sheet
    from simulators.demo import RECORDING

    if sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet {sheet}: the sheet is a PNG, name it *.png")
    drawn = contact_sheet(_material(RECORDING, frame))
    done, data = cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"--sheet {sheet}: the picture cannot be encoded")
    sheet.write_bytes(data.tobytes())


def _material(recording: Path, picture: Path | None) -> "Material":
    """A stretch of a recording, with one picture in place of its frames where one is given."""
    import numpy as np

    from simulators.contact_sheet import Material
    from simulators.faults.effect import measure_spread
    from simulators.faults.parts import Signal
    from simulators.recordings.open import open_recording
    from stream.images import decode
    from stream.messages import Frame, Kind

    opened = open_recording(recording)
    start_ns = opened.episodes[0].start_ns + round(SHOWN_FROM_S * 1e9)
    readings = [record.reading for record in opened.records()]
    shown = [one for one in readings if 0 <= one.time_ns - start_ns < SHOWN_S * 1e9]
    (camera,) = [one for one in opened.modalities.values() if one.kind is Kind.IMAGE]
    (arm,) = [one for one in opened.modalities.values() if one.kind is Kind.VECTOR]
    frames = [decode(one.data) for one in shown if isinstance(one, Frame)]
    return Material(
        frames=frames if picture is None else [decode(picture.read_bytes())] * len(frames),
        frame_hz=camera.rate_hz,
        values=np.concatenate([one.values for one in shown if not isinstance(one, Frame)]),
        signal=Signal(
            rate_hz=arm.rate_hz,
            spread=measure_spread(readings)[arm.name],
            noise_sd=np.array(arm.noise_sd),
            names=arm.names,
        ),
    )
