"""Options and fixtures of the whole suite."""

# what others import stands before them
pytest_plugins = (
    "tests.support.leftovers",
    "tests.support.engines",
    "tests.support.no_skips",
    "tests.support.serving",
    "tests.support.prison",
)
