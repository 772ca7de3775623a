"""What every test may ask for; each plugin module owns one outside thing."""

import pytest

pytest_plugins = [
    "tests.fixtures.consul",
    "tests.fixtures.objects",
    "tests.fixtures.docker",
    "tests.fixtures.nomad",
    "tests.fixtures.postgres",
    "tests.fixtures.stock",
]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Note how the run ended, for ``tools.second_try``: one that broke off has tests nobody has seen fail."""
    cache = session.config.cache
    if cache is not None:
        cache.set("horde/exitstatus", int(exitstatus))
