"""``weldfusion dlq`` teaches itself and says in one line what is wrong."""

import re

import pytest
from typer.testing import CliRunner, Result

from stream.dlq_command import summary
from weldfusion import app

TAUGHT = {
    "show": ["URL", "--reason", "--station", "--late", "--follow", "--seconds", "--insecure"],
    "replay": ["URL", "--reason", "--station", "--dry-run", "--seconds", "--insecure"],
}
NOBODY = "mqtt://127.0.0.1:1"


def run(*arguments: str) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["dlq", *arguments], env=environment)


@pytest.mark.parametrize("command", TAUGHT)
def test_help_teaches_every_option_by_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    for word in TAUGHT[command]:
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", result.output, re.IGNORECASE), word
    assert result.output.count(f"Example: weldfusion dlq {command}") == 2


@pytest.mark.parametrize("command", TAUGHT)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mqtt://me:hunter2@localhost"], "credentials do not belong into a URL"),
        (["mqtt://broker.example"], "--insecure"),
        ([NOBODY, "--station", "a/b"], "five segments"),
        ([NOBODY], "no connection to mqtt://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_said_in_one_clear_error(
    command: str, arguments: list[str], said: str
) -> None:
    result = run(command, *arguments)
    assert result.exit_code == 2
    assert f"dlq {command}: " in result.stderr
    assert said in result.stderr
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_a_replay_ends_with_what_became_of_every_letter() -> None:
    counts = {"sent before": 2, "sent again": 5, "not to be sent": 1}
    lines = summary(counts, {"jump": 3, "truncated_image": 2}).splitlines()
    assert [line.strip() for line in lines] == [
        "5 sent again: 3 jump, 2 truncated_image",
        "2 sent before",
        "1 not to be sent",
    ]
    assert summary({}, {}) == "no dead letters"
