"""What all of the package uses: files written whole, numbers and tables of text."""

import pickle

import pytest

from sgdvi import InputError
from sgdvi._internal.files import write_text, write_whole, written_whole
from sgdvi._internal.text import number, table, typeset


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "file.txt"
    assert write_text(target, "old") == target

    def half(part):
        part.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(InputError, match=r"must be writable; got disk full"):
        write_whole(target, half)
    with pytest.raises(ZeroDivisionError):
        write_whole(target, lambda part: part.write_text("n") / 0)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_cannot_be_replaced_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be writable"):
        write_text(tmp_path / "missing" / "file.txt", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="must be writable"):
        write_text(tmp_path / "folder", "text")


def test_several_files_move_together_and_the_last_one_last(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr("sgdvi._internal.files.os.replace", lambda part, target: moved.append(target.name))
    with written_whole(tmp_path, last="a") as folder:
        for name in "cab":
            (folder / name).write_text(name)
        assert not moved
    assert moved == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("value", "ascii", "pretty"),
    [
        (1250.0, "1,250", "1\u202f250"),
        (3.2e-7, "3.20e-07", "3.20\u00a0×\u00a010⁻⁷"),
        (float("-inf"), "minus infinity", "−∞"),
        (None, "not a number", ""),
        (1.0023, "1.002", "1.002"),
        (0.25, "0.25", "0.25"),
        (999.7, "1,000", "1\u202f000"),
    ],
)
def test_one_number_in_two_styles(value, ascii, pretty):
    assert (number(value), number(value, style="typeset")) == (ascii, pretty)
    assert typeset(value) == pretty


def test_columns_are_aligned():
    rows = [["W1", "KS", "run"], ["0.25", "1", "SGD"], ["7", "0.5", ""]]
    assert table(rows) == ["  W1   KS  run", "0.25    1  SGD", "   7  0.5"]
    assert table(rows, left=1) == ["  W1   KS  run", "0.25    1  SGD", "   7  0.5"]
    assert table(rows, left=3) == ["W1    KS   run", "0.25  1    SGD", "7     0.5"]


def test_bad_input_is_named_as_a_user_imports_it():
    assert f"{InputError.__module__}.{InputError.__qualname__}" == "sgdvi.InputError"
    assert pickle.loads(pickle.dumps(InputError("x"))).args == ("x",)
