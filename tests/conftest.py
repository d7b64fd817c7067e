"""What every test may ask for stands in tests/support, one file per subject."""

pytest_plugins = (
    "tests.support.judges",
    "tests.support.postgres",
    "tests.support.selection",
    "tests.support.twin",
    "tests.support.replica",
    "tests.support.hooks",
    "tests.support.program",
    "tests.support.histories",
    "tests.support.console",
)
