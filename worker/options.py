"""The command line of `python -m worker`."""

import argparse

UNLOADABLE = 78
"""Exit code of a worker whose workflows cannot be loaded, EX_CONFIG of sysexits.h: it is of no use
to start it again before its code has changed."""


def parse_options() -> argparse.Namespace:
    """What the command line says; a bad one ends the process with 2."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Execute workflows.")
    parser.add_argument(
        "--until-idle", action="store_true", help="exit when there is nothing left to do"
    )
    commands = parser.add_subparsers(dest="command", title="commands")
    migrating = commands.add_parser("migrate", help="create what workers and functions need")
    migrating.add_argument("--worker-role", help="grant this role what a worker needs")
    migrating.add_argument("--functions-role", help="grant this role what the functions need")
    adopting = commands.add_parser(
        "adopt", help="move the unfinished workflows of a version without workers to APP_VERSION"
    )
    adopting.add_argument("version", help="the version that nobody runs any more")
    adopting.add_argument("--yes", action="store_true", help="do it; without it, only list them")
    options = parser.parse_args()
    if options.until_idle and options.command:
        parser.error(f"{options.command} does not take --until-idle")
    return options
