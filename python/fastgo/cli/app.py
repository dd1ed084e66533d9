"""The commands, and the one place where a failure becomes a line on stderr and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
import typer.core
from click import ClickException

import fastgo
from fastgo import switches
from fastgo.cli import ui
from fastgo.cli.bench import bench
from fastgo.cli.convert import convert
from fastgo.cli.env import env
from fastgo.cli.export import export
from fastgo.cli.inspect_model import inspect_model
from fastgo.cli.list_models import list_models
from fastgo.cli.pull import pull
from fastgo.cli.remove import remove, show_cache
from fastgo.cli.run import run
from fastgo.cli.verify import verify
from fastgo.errors import INTERRUPTED_EXIT_CODE, UNEXPECTED_EXIT_CODE, FastgoError, UsageError


class _Commands(typer.core.TyperGroup):
    """Every command runs inside `invoke`, so errors are reported alike for all of them, those of typer too."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().make_context(*arguments, **options)
        except Exception as error:
            raise _reported(error) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
        except BrokenPipeError:
            ui.abandon_stdout()
            raise typer.Exit(0) from None
        except Exception as error:
            raise _reported(error) from None


def _reported(error: Exception) -> Exception:
    """Shows `error` unless typer does so itself; returns what to raise in its place."""
    # The last one, which older versions of click don't have, shows the help.
    if isinstance(error, (typer.Exit, typer.Abort)) or type(error).__name__ == "NoArgsIsHelpError":
        return error
    if isinstance(error, ClickException):
        error = UsageError(error.format_message().rstrip("."))
    if isinstance(error, FastgoError):
        ui.error(error.message, error.hint)
        return typer.Exit(error.exit_code)
    if switches.value("FASTGO_TRACEBACK") == "1":
        ui.traceback(error)
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "this is a fault of fastgo: please report it with the output of FASTGO_TRACEBACK=1 and `fastgo env`"
    ui.error(reason, hint)
    return typer.Exit(UNEXPECTED_EXIT_CODE)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    suggest_commands=False,  # click does
    pretty_exceptions_enable=False,
    help="Runs open language models on the machine in front of you.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        ui.data(f"fastgo {fastgo.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


app.command("run")(run)
app.command("pull")(pull)
app.command("convert")(convert)
app.command("export")(export)
app.command("bench")(bench)
app.command("list")(list_models)
app.command("inspect")(inspect_model)
app.command("verify")(verify)
app.command("rm")(remove)
app.command("cache")(show_cache)
app.command("env")(env)
