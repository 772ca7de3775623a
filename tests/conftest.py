"""What every test may ask for; each plugin module owns one outside thing."""

pytest_plugins = [
    "tests.fixtures.consul",
    "tests.fixtures.objects",
    "tests.fixtures.docker",
    "tests.fixtures.nomad",
    "tests.fixtures.postgres",
    "tests.fixtures.stock",
]
