"""Options and fixtures of the whole suite."""

import hypothesis

# how long an example takes says more about the machine than about the code
hypothesis.settings.register_profile("abaco", deadline=None)
hypothesis.settings.load_profile("abaco")

# what others import stands before them
pytest_plugins = (
    "tests.support.leftovers",
    "tests.support.engines",
    "tests.support.no_skips",
    "tests.support.serving",
    "tests.support.prison",
)
