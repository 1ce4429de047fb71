"""Options and fixtures of the whole suite."""

pytest_plugins = (
    "tests.support.engines",
    "tests.support.no_skips",
    "tests.support.serving",
)
