"""The compilation cache: compiled programs are kept in the user's cache folder for the next run."""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "SGDVI_CACHE"
_OFF = {"0", "off", "no", "false"}


def cache_folder() -> Path | None:
    """Return the folder of the cache, from SGDVI_CACHE or the platform's habit; None where it is off, or no home."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen.lower() in _OFF:
        return None
    try:
        return Path(chosen).expanduser() if chosen else _habit()
    except RuntimeError:  # a user without a home, as in some containers
        return None


def _habit() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sgdvi"


@contextmanager
def compilation_cache(wanted: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Let JAX keep compiled programs while the body runs; a folder that cannot be used only costs time."""
    folder = cache_folder() if wanted else None
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        say(f"  no compilation cache: {folder} ({error.strerror})")
        yield
        return
    import jax
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    # Every program counts: the run compiles hundreds of small ones, each below JAX's default limit of one second.
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    # JAX stays with the first folder that it opened, whatever the settings say later, until it is told to look again.
    for name, value in settings.items():
        jax.config.update(name, value)
    reset_cache()
    try:
        with warnings.catch_warnings():
            # JAX writes programs in place: one of a killed or a parallel run may be half there. It is compiled again,
            # as is what a full disk did not take.
            warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
            yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        reset_cache()
