"""A report as one HTML file that needs nothing beside it: no script, no font, no link."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

from simulators.report.blocks import Picture, Section
from simulators.report.clean import clean_recordings
from simulators.report.consequences import alarms, corrections, costs, making
from simulators.report.detection import by_class, confusions, parts_of_the_test, recall_tables
from simulators.report.headline import in_short
from simulators.report.recall import by_fault, by_origin_severity_effect
from simulators.report.systems import Report

BEFORE_PICTURES: tuple[Callable[[Report], Section], ...] = (
    in_short,
    parts_of_the_test,
    confusions,
    by_class,
    recall_tables,
    by_fault,
    by_origin_severity_effect,
    alarms,
    clean_recordings,
    corrections,
)
AFTER_PICTURES: tuple[Callable[[Report], Section], ...] = (costs, making)
TEMPLATE = "page.html"


def render(report: Report, pictures: Sequence[Picture] = ()) -> str:
    """Return the page; sections of which the report holds nothing are left out.

    ``report`` is what the evaluation writes as JSON: its first system is the one judged, the
    others are what it is compared with. Missing figures may be absent, None or NaN.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files, faults and systems are other people's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = _png
    title = str(report.get("title") or "Evaluation")
    page: str = environment.get_template(TEMPLATE).render(
        title=title, sections=sections(report, pictures)
    )
    return page


def sections(report: Report, pictures: Sequence[Picture] = ()) -> list[Section]:
    """Return the sections that hold anything, in the order of the page."""
    shown = Section(
        title="Before and after",
        reading="What the sensor should have said, what it said, and what was made of it.",
        blocks=tuple(pictures),
    )
    found = [
        *(section(report) for section in BEFORE_PICTURES),
        shown,
        *(section(report) for section in AFTER_PICTURES),
    ]
    return [section for section in found if section.blocks]


def _png(picture: Picture) -> str:
    """Without loss: what a fault looks like must not be the compression's doing."""
    import cv2

    _, encoded = cv2.imencode(".png", picture.rgb[:, :, ::-1].copy())
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
