"""What ``--help`` shows: one screen of what is the command's own, and lines to copy."""

from __future__ import annotations

import os
from argparse import Action
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, DjangoHelpFormatter

from django_deploy.management.completion import offer_names

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

#: Instead of a dozen lines that every command of Django's has.
COMMON = "Besides Django's own: --settings, --verbosity, --traceback, --no-color …"


def with_examples(examples: str, *, are_mixed: bool = True) -> Callable[..., CommandParser]:
    """A ``create_parser`` whose help ends with lines that one may copy.

    If ``are_mixed``, options may stand between TARGET and what may follow it: ``deploy_logs staging -f web``.
    """

    def create_parser(self: BaseCommand, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = BaseCommand.create_parser(self, prog_name, subcommand, **kwargs)
        parser.formatter_class = _HelpFormatter
        if are_mixed:
            parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        parser.epilog = f"{COMMON}\n\nexamples:\n{examples.strip(chr(10))}"
        if "DJANGO_AUTO_COMPLETE" in os.environ:
            offer_names(parser, os.environ)
        return parser

    return create_parser


class _HelpFormatter(DjangoHelpFormatter):
    """Leaves the examples as they are, and the options of all commands of Django's out."""

    def add_usage(
        self, usage: str | None, actions: Iterable[Action], *arguments: Any, **options: Any
    ) -> None:
        super().add_usage(usage, self._own(actions), *arguments, **options)

    def add_arguments(self, actions: Iterable[Action]) -> None:
        super().add_arguments(self._own(actions))

    def _own(self, actions: Iterable[Action]) -> Sequence[Action]:
        return [action for action in actions if not self.show_last.intersection(action.option_strings)]

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(COMMON) else super()._fill_text(text, width, indent)
