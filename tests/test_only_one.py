"""One worker of a name on a machine."""

from pathlib import Path

import pytest

from stream.config import ConfigError
from stream.only_one import only_one


def test_a_second_worker_of_a_name_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "state" / "w.lock"
    with only_one(path), pytest.raises(ConfigError, match="--set name="), only_one(path):
        pass
    with only_one(path):
        pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state_dir"), only_one(tmp_path / "file" / "w.lock"):
        pass
