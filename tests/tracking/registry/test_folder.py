"""New folders: whole or not at all. What URIs lead to is tested with the registry."""

import os
import stat
from pathlib import Path

import pytest

from wikillama.errors import InputError
from wikillama.tracking.registry.folder import check_free, new_folder


def test_it_appears_when_it_is_full(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "file").write_text("x")
        (folder / "file").chmod(0o600)
        assert not out.exists()
        assert folder.parent == out.parent  # a rename within one file system
    assert (out / "file").read_text() == "x"
    assert [each.name for each in out.parent.iterdir()] == ["out"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((out / "file").stat().st_mode) == 0o666 & ~mask


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").touch()
    assert (tmp_path / "out" / "file").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise error("no")

    with pytest.raises(error):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "mine").touch()
    file.touch()
    for out in (full, file):
        with pytest.raises(InputError, match="there is something already"):
            check_free(out)
        with pytest.raises(InputError, match="there is something already"), new_folder(out):
            pytest.fail("a place that is taken was given")
    assert [each.name for each in full.iterdir()] == ["mine"]


def test_a_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), new_folder(tmp_path / "file" / "out"):
        pytest.fail("a folder within a file was given")
