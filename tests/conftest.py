"""Fixtures that all tests share. Nothing here changes a global JAX setting."""

import os
import shutil
from collections.abc import Iterator

import jax
import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture
def key() -> jax.Array:
    """Return a random key with a fixed seed: a test draws the same numbers every day."""
    return jax.random.key(20250611)


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
