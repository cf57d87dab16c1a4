"""Fixtures that all tests share, and the one global JAX setting: compiled programs are kept from test to test."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# Each process of the tests has a core: threads of matrix products wait for each other there, which took more than half
# of the processor time of a comparison. Processes that are started from here inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Looking for garbage takes a tenth of the time: tracing makes millions of objects that stay, and few circles.
gc.set_threshold(200_000, 50, 50)
ROOT = Path(__file__).parent
QUICK_COMPILATION = "jax_disable_most_optimizations"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs in pytest's cache: the processes of a run, its subprocesses and the next run share them.

    Most of the suite's time is compilation, much of it of the same laws. A variable of the environment for a setting
    comes before what is set here: `JAX_COMPILATION_CACHE_DIR`, say.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(config.cache.mkdir("programs"))
    settings = {"jax_compilation_cache_dir": folder, "jax_persistent_cache_min_compile_time_secs": 0.03}
    if "not slow" in config.option.markexpr and not os.environ.get("CI"):
        # A seventh of the time. What users run is compiled as they do in CI, in the slow tests and in the docs.
        settings[QUICK_COMPILATION] = True
    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)
    os.environ.setdefault("SGDVI_CACHE", folder)


# Files that take longest go first: one that a process begins at the end keeps the other waiting.
LONGEST = (
    "laws/test_stationary", "laws/test_namespaces", "laws/test_spread_and_bias", "test_hierarchies", "test_inputs",
    "test_balance", "test_experiment", "test_comparison", "samplers/test_store", "cli/test_main", "test_integrate",
    "test_late_failures", "test_flavours", "symmetry/test_symmetry", "report/test_browser", "test_docs",
    "models/test_real_data", "diagnostics/test_traps_of_the_law", "test_forecast", "references/test_families",
    "real_models/test_valid", "report/test_page", "samplers/test_damage", "samplers/test_flow", "test_extending",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take the longest files first, in their order; pytest-xdist would take those with most tests first."""
    places = {ROOT / f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of every later collection of garbage: it stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def key() -> jax.Array:
    """Return a random key with a fixed seed: a test draws the same numbers every day."""
    return jax.random.key(20250611)


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """Compile as users do, for runs that take longer than their compilation."""
    jax.config.update(QUICK_COMPILATION, False)
    yield
    jax.config.update(QUICK_COMPILATION, os.environ.get(QUICK_COMPILATION.upper()) == "True")


@pytest.fixture
def x64() -> Iterator[None]:
    """Run the test with 64-bit arrays, and only this test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of a headless Chromium; skip without one, fail where `CI` is set."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        # a browser test that is skipped in CI would leave the report unseen, so there it must not pass in silence
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium: apt-get install chromium")
    return found


@pytest.fixture(autouse=True)
def _browser_tests_need_a_browser(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("browser"):
        request.getfixturevalue("chromium")
