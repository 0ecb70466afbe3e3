"""The look of ``--help``: paragraphs as wide as the terminal, and no type beside an option that takes no value."""

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption


class Command(TyperCommand):
    """A command whose help fits the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = unwrapped(self.help)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_bool(super().get_params(ctx))


class Group(TyperGroup):
    """The list of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_bool(super().get_params(ctx))


def unwrapped(text: str | None) -> str | None:
    """Join the lines of each paragraph: typer keeps the line breaks of a docstring, and rich then adds its own."""
    if text is None:
        return None
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _without_bool(params: list[Any]) -> list[Any]:
    """Leave out the ``<bool>`` that typer prints beside a flag: it looks like a value to type."""
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params
