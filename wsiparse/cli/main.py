"""The `wsiparse` command: finds the asked-for command and turns known errors into one line and an exit code.

Exit codes: 0 done; 1 a known error, told in one line; 2 wrong usage; 3 some slides or tiles failed, the rest is done;
130 / 143 interrupted / terminated.
"""

from __future__ import annotations

import difflib
import importlib
import io
import logging
import os
import sys
from typing import Final

import click

from wsiparse.cli.compiled import provide_compile_cache
from wsiparse.errors import WsiparseError

__all__ = ["main"]

#: Command name -> (module below `wsiparse.cli`, one-line help); modules are imported only when their command runs.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("run", "Analyse slides: objects, counts, overlays."),
    "report": ("report", "Make the reports again; compare groups of patients."),
    "status": ("status", "Show which slides are done, running or failed."),
    "ask": ("ask", "Answer a question about results, without a language model."),
    "mcp": ("mcp", "Serve results to programs that speak MCP."),
    "merge": ("merge", "Join the results of the jobs of an array."),
    "plan": ("plan", "Estimate a run: tiles, mm2, disk, memory."),
    "info": ("info", "Describe slides: size, levels, mpp, tissue."),
    "import": ("imports", "Make results of objects that another program found."),
    "export": ("export", "Write results in other formats."),
    "view": ("view", "Look at a slide's results in a browser."),
    "evaluate": ("evaluate", "Compare results with annotations."),
    "compare": ("compare", "Compare two results of the same slides."),
    "verify": ("verify", "Check that results are complete and unchanged."),
    "doctor": ("doctor", "Check that this machine is ready."),
    "demo": ("demo", "Try it on a painted slide with known nuclei."),
    "prompts": ("prompts", "List what can be looked for, and which engine finds it."),
    "engines": ("engines", "List the engines, what each finds and whether it is ready."),
    "teach": ("teach", "Teach the nuclei of results your own classes."),
    "train": ("train", "Train a nucleus network on annotated tiles."),
    "weights": ("weights", "Fetch, find or check the BiomedParse weights."),
}


class _Commands(click.Group):
    """A group whose commands are imported on first use, so that --help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = importlib.import_module(f"wsiparse.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name.lower(), COMMANDS, n=1, cutoff=0.5)
            hint = f"Did you mean '{near[0]}'?" if near else f"There are {', '.join(COMMANDS)}."
            ctx.fail(f"No such command '{name}'. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


#: What a shell must be told once to complete commands and options; click answers it.
COMPLETION: Final = """\b
Completion, a line for the start-up file of your shell:
  bash  eval "$(_WSIPARSE_COMPLETE=bash_source wsiparse)"
  zsh   eval "$(_WSIPARSE_COMPLETE=zsh_source wsiparse)"
  fish  _WSIPARSE_COMPLETE=fish_source wsiparse | source
"""


@click.group(
    cls=_Commands, epilog=COMPLETION, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="wsiparse", message="wsiparse %(version)s")
def _group() -> None:
    """Whole-slide pathology: name what you look for, get exact objects, counts per mm2 and QuPath overlays.

    Research use only.

    Example: wsiparse run slides/ -o results --prompt "inflammatory cells"
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the name of a file need not be text
            stream.reconfigure(errors="backslashreplace")
    # tifffile logs what it dislikes about a file; what matters of it comes back as an error of ours
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    logging.getLogger("wsiparse").addHandler(logging.NullHandler())
    try:
        told = provide_compile_cache(os.environ)
        if told is not None:
            print(f"notice: {told}", file=sys.stderr)
        code = _group.main(args=arguments, prog_name="wsiparse", standalone_mode=False)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except (click.Abort, KeyboardInterrupt) as err:  # click turns the one into the other
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(getattr(err.__cause__ or err, "code", 130))
    except WsiparseError as err:
        print(f"error: {err}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
