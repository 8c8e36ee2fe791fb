"""The page of a report: what it shows, what it leaves out, and that it needs nothing else."""

import base64
import json
import math
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from simulators.report.blocks import Bars, Picture, Section, Table
from simulators.report.page import render, sections
from simulators.report.wording import brief, count, percent, percent_span
from simulators.reporting import write_report
from tests.reporting import FAULTS, SYSTEMS, example_pictures, example_report

VOID = {"meta", "img", "br", "wbr"}


class Reader(HTMLParser):
    """Tags that were opened and never closed, every attribute, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


@pytest.fixture(scope="module")
def page() -> str:
    return render(example_report(), example_pictures())


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def titled(report: Mapping[str, Any], title: str) -> Section:
    (found,) = [one for one in sections(report) if one.title == title]
    return found


def without(report: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Leave out some keys wherever they are."""
    return {
        key: without(value, *keys) if isinstance(value, dict) else value
        for key, value in report.items()
        if key not in keys
    }


def test_the_page_needs_nothing_beside_it(page: str, read: Reader) -> None:
    assert not {"script", "link", "iframe", "object"} & set(read.tags)
    assert all(source.startswith("data:image/png;base64,") for source in read.values("src"))
    assert all(link.startswith("#part") for link in read.values("href"))
    assert "url(" not in page
    assert "@import" not in page


def test_every_tag_is_closed_and_every_link_arrives(read: Reader) -> None:
    assert read.open == []
    assert {link.removeprefix("#") for link in read.values("href")} == set(read.values("id"))


def test_the_figures_are_on_the_page(read: Reader) -> None:
    text = " ".join(read.text)
    for figure in ("0.924", "0.909–0.933", "118 of 126", "0.85 %", "0.00250", "camera.dust"):
        assert figure in text
    for fact in ("--seed 1", "sha256:5f0c6a1e9b7d4c3a8e2f", "test.mcap#0-7", "214 left out"):
        assert fact in text


def test_every_system_is_in_every_comparison() -> None:
    report = example_report()
    (alarms,) = titled(report, "Alarms").blocks
    assert isinstance(alarms, Table)
    assert alarms.header[1:] == SYSTEMS
    for block in titled(report, "Recall by fault").blocks:
        assert isinstance(block, Bars)
        assert all(len(bar.marks) == len(SYSTEMS) - 1 for bar in block.bars)
    assert [name for name, _ in titled(report, "Recall by fault").legend] == list(SYSTEMS[1:])


def test_every_section_says_how_it_is_read() -> None:
    found = sections(example_report(), example_pictures())
    assert len({one.title for one in found}) == len(found) == 13
    assert all(one.reading.endswith(".") for one in found)


def test_the_weakest_fault_comes_first() -> None:
    block = titled(example_report(), "Recall by fault").blocks[0]
    assert isinstance(block, Bars)
    assert [bar.label for bar in block.bars] == sorted(
        FAULTS, key=lambda one: (FAULTS[one][2], one)
    )
    assert block.bars[0].note == "upstream, effect 6.10, 240 windows of 8 trajectories"


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("confusion", "What is taken for what"),
        ("recall_by", "Recall by fault"),
        ("events", "Alarms"),
        ("clean", "Clean recordings"),
        ("error", "Correction"),
        ("cost_ms", "Cost"),
    ],
)
def test_what_is_missing_is_left_out_with_its_heading(key: str, title: str) -> None:
    assert title in {one.title for one in sections(example_report())}
    report = without(example_report(), key)
    assert title not in {one.title for one in sections(report)}
    assert title not in Reader(render(report)).text


def test_a_column_that_nobody_has_is_left_out() -> None:
    over_5 = ("over 5 windows", "95 %", "visible over 5")
    header = ("system", "all faults", "visible", "held out", *over_5)
    (whole, _, reach) = titled(example_report(), "Parts of the test").blocks
    assert isinstance(whole, Table)
    assert isinstance(reach, Table)
    assert reach.header[1:3] == ("1 noise sd on", "2 noise sd on")
    assert whole.header == header
    lacking = ("macro_f1_held_out", "over_5_windows", "macro_f1_from_effects")
    fewer = without(example_report(), *lacking)
    (left, _) = titled(fewer, "Parts of the test").blocks
    assert isinstance(left, Table)
    assert left.header == header[:3]


def test_a_system_without_alarms_has_no_column_and_a_single_gap_is_a_dash() -> None:
    report = example_report()
    del report["systems"]["MMAE"]["events"]
    (alarms,) = titled(report, "Alarms").blocks
    assert isinstance(alarms, Table)
    assert "MMAE" not in alarms.header
    del report["systems"]["MMVAE"]["events"]["found"], report["systems"]["MMVAE"]["events"]["of"]
    assert "–" in Reader(render(report)).text


def test_a_clean_recording_has_its_alarms_beside_what_any_modality_raised() -> None:
    (block,) = titled(example_report(), "Clean recordings").blocks
    assert isinstance(block, Table)
    assert block.header[-4:] == ("at 0.1 %", "false alarms", "an hour", "at most")
    first, second, *_ = [row for row in block.rows if row[0] == "weldfusion"]
    assert first[:6] == ("weldfusion", "night.mcap", "any", "2.0", "12", "0.95 %")
    assert first[-3:] == ("2", "1.0", "3.2")
    assert second[2:5] == ("camera", "", "")
    assert second[5] == "0.4 %"
    assert len(block.rows) == 3 * len(SYSTEMS)


def test_an_empty_report_is_an_empty_page() -> None:
    assert sections({}) == []
    assert "h2" not in Reader(render({})).tags


def test_what_was_not_measured_is_shown_nowhere() -> None:
    report = example_report()
    for one in report["systems"].values():
        one["events"]["delay_p50_s"] = math.nan
        one["events"]["false_alarms_per_hour_upper"] = None
        one["protocols"]["A"]["macro_f1_interval"] = (math.nan, math.nan)
        one["protocols"]["B"]["recall_by"]["fault"]["camera.dust"]["recall"] = None
    text = " ".join(Reader(render(report)).text)
    assert "nan" not in text.split()
    assert "None" not in text
    first, second = titled(report, "Recall by fault").blocks
    assert isinstance(first, Bars)
    assert isinstance(second, Bars)
    assert len(second.bars) == len(first.bars) - 1


def test_a_report_read_back_from_json_gives_the_same_page(page: str, tmp_path: Any) -> None:
    write_report(example_report(), tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert render(report, example_pictures()) == page


def test_names_from_outside_cannot_become_markup() -> None:
    report = example_report()
    evil = "<script>alert(1)</script>"
    report["title"] = report["command"] = evil
    report["systems"][evil] = report["systems"].pop("MMAE")
    page = render(report, [Picture(title=evil, caption='"', rgb=np.zeros((2, 2, 3), np.uint8))])
    assert "<script" not in page
    assert evil in Reader(page).text
    assert f'{evil}: "' in Reader(page).values("alt")


def test_a_picture_arrives_pixel_by_pixel(read: Reader) -> None:
    pictures = example_pictures()
    for picture, source in zip(pictures, read.values("src"), strict=True):
        encoded = base64.b64decode(source.partition(",")[2])
        shown = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.array_equal(shown, picture.rgb)


def test_a_picture_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"dust: a picture is uint8 .*, not float64 \(4, 4, 3\)"):
        Picture(title="dust", caption="", rgb=np.zeros((4, 4, 3)))  # type: ignore[arg-type]


def test_errors_lie_between_the_floor_and_what_doing_nothing_gives() -> None:
    bars = {one.caption: one.bars for one in titled(example_report(), "Correction").blocks}  # type: ignore[union-attr]
    lengths = {bar.label: bar.length for bar in bars["kinematics, protocol A"]}
    assert lengths["uncorrected"] == 1.0
    assert lengths["floor (oracle)"] == pytest.approx(0.0045 / 0.0329)
    assert lengths["floor (oracle)"] < lengths["corrected, weldfusion"] < 1
    assert lengths["constant mean"] > 1  # and is shown as running off the scale
    notes = {bar.label: bar.note for bar in bars["kinematics, protocol A"]}
    assert notes["constant mean"] == "beyond the scale"
    assert not any(note for label, note in notes.items() if label != "constant mean")


def test_one_system_alone_has_no_legend_and_no_ticks() -> None:
    report = example_report()
    report["systems"] = {"weldfusion": report["systems"]["weldfusion"]}
    found = titled(report, "Recall by fault")
    assert found.legend == ()
    assert "mark" not in " ".join(Reader(render(report)).values("class"))


def test_figures_keep_their_digits() -> None:
    assert [brief(value) for value in (0.0025, 28.7, 0, 12345.6, 1e-6, -0.5)] == [
        *("0.00250", "28.7", "0", "12346", "0.00000100", "-0.500"),
    ]
    assert [percent(value) for value in (0.0142, 0.01, 0.0006, 1.0, 0, None)] == [
        *("1.4 %", "1 %", "0.06 %", "100 %", "0 %", ""),
    ]
    assert percent_span((0.0097, 0.0199)) == "0.97–2 %"
    assert percent_span([None, 0.1]) == ""
    assert count(7198) == "7\N{NARROW NO-BREAK SPACE}198"
