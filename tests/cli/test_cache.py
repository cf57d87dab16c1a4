"""The compilation cache: where it is, that it fills, that nothing of it is left behind."""

import errno

import jax
import jax.numpy as jnp
import pytest

from sgdvi.cli._cache import cache_folder, compilation_cache


def test_the_folder_follows_the_variable_then_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("SGDVI_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("SGDVI_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sgdvi"


def test_a_user_without_a_home_has_none(monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", no_home)
    for variable in ("SGDVI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder() is None
    monkeypatch.setenv("SGDVI_CACHE", "~/cache")
    assert cache_folder() is None


@pytest.mark.parametrize("word", ["0", "off", "No"])
def test_it_can_be_turned_off(monkeypatch, word):
    monkeypatch.setenv("SGDVI_CACHE", word)
    assert cache_folder() is None


def test_programs_are_kept_and_the_settings_restored(monkeypatch, tmp_path):
    monkeypatch.setenv("SGDVI_CACHE", str(tmp_path / "cache"))
    jax.jit(lambda x: jnp.cos(x) * 3.125)(jnp.ones(7)).block_until_ready()  # JAX has a folder open already
    before = jax.config.jax_compilation_cache_dir
    with compilation_cache(True, print):
        jax.jit(lambda x: jnp.sin(x) * 3.125)(jnp.ones(7)).block_until_ready()
    assert any((tmp_path / "cache").iterdir())
    assert jax.config.jax_compilation_cache_dir == before


def test_a_folder_that_cannot_be_made_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SGDVI_CACHE", str(tmp_path / "file" / "cache"))
    said: list[str] = []
    with compilation_cache(True, said.append):
        assert "no compilation cache" in said[0]


def test_a_folder_that_takes_no_files_costs_only_time(monkeypatch, tmp_path):
    def refuses(dir):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setenv("SGDVI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.TemporaryFile", refuses)
    said: list[str] = []
    with compilation_cache(True, said.append):
        assert said == [f"  no compilation cache: {tmp_path / 'cache'} (Permission denied)"]
        assert jax.config.jax_compilation_cache_dir != str(tmp_path / "cache")
