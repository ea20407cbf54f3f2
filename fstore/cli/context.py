"""What every command is told: which store, which settings file, which form of output."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fstore.resources import Resources
    from fstore.settings import Settings
    from fstore.store import FeatureStore


class Words(click.Group):
    """A group of commands that answers what is nearly one of them with the one that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a slip of a finger, or an option without its dashes, costs no look into the help."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            option = f"--{args[0]}"
            known = [option] if any(option in each.opts for each in self.params) else self.list_commands(ctx)
            near = difflib.get_close_matches(option if option in known else args[0], known, 1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from error


F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Call:
    """The options that all commands share; what they lead to is loaded when it is asked for."""

    as_json: bool = False
    wide: bool = False
    root: Path | None = None
    config_file: Path | None = None

    def settings(self) -> Settings:
        """Gather the settings; a stack that runs on the root fills in what nobody else says."""
        from fstore.settings import load_settings  # noqa: PLC0415

        given = {"path": self.root} if self.root is not None else {}
        return load_settings(given, config_file=self.config_file)

    @contextmanager
    def store(self) -> Iterator[FeatureStore]:
        """Open the store for one command."""
        from fstore.bootstrap import open_resources  # noqa: PLC0415
        from fstore.store import FeatureStore  # noqa: PLC0415

        with FeatureStore.over(open_resources(self.settings(), role="cli")) as opened:
            yield opened

    @contextmanager
    def resources(self) -> Iterator[Resources]:
        """Open the store's adapters for one command."""
        with self.store() as opened:
            yield opened.resources

    def show(self, document: dict[str, Any], *renderables: RenderableType) -> None:
        """Print a result: the document as JSON, or what people read."""
        from fstore.cli import output  # noqa: PLC0415

        if self.as_json:
            output.print_json(document)
        else:
            output.show(*renderables, wide=self.wide)


pass_call = click.make_pass_decorator(Call, ensure=True)


def common(*, file_option: tuple[str, ...] = ("-c", "--config")) -> Callable[[F], F]:
    """Add ``--json``, ``--wide``, ``--root`` and the settings file to a command.

    They may also stand before its name.
    """

    def decorate(command: F) -> F:
        options = (
            click.option("--json", "json_", is_flag=True, expose_value=False, callback=_keep("as_json"), help="Print JSON and nothing else on stdout."),
            click.option("--wide", "wide_", is_flag=True, expose_value=False, callback=_keep("wide"), help="Shorten no column and leave none out, however narrow the terminal."),
            click.option("--root", type=click.Path(path_type=Path), expose_value=False, callback=_keep("root"), metavar="PATH", help="The store's folder (FEATURE_STORE_PATH)."),
            click.option(*file_option, "config_file_", type=click.Path(path_type=Path), expose_value=False, callback=_keep("config_file"), metavar="FILE", help="A YAML file with settings (FEATURE_STORE_CONFIG)."),
        )  # fmt: skip
        for option in options:
            command = option(command)
        return command

    return decorate


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> Any:
        if value not in (None, False):  # not given here: what stands before the command's name holds
            setattr(context.ensure_object(Call), name, value)
        return value

    return callback
