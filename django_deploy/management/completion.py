"""Names of targets and hosts for Django's own completion in shells (``DJANGO_AUTO_COMPLETE``).

Django asks the parser of a command for its options and offers those that begin with what was typed. So
names are offered as options of that parser, which parses nothing then. HOSTS that a callable returns are
not offered: nothing of the project is run for a key press.
"""

from __future__ import annotations

import re
from argparse import Action, ArgumentParser
from collections.abc import Iterator, Mapping

from django_deploy import conf
from django_deploy.exceptions import DeployError


def offer_names(parser: ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add what may stand where the cursor is; behind ``--hosts`` that is nothing but hosts."""
    if not any(action.dest == "target" and not action.option_strings for action in parser._actions):
        return
    words = environ.get("COMP_WORDS", "").split()[2:]  # without manage.py and the command
    position = int(environ.get("COMP_CWORD", "2")) - 2
    before = [word for word in words[:position] if word != "="]  # which bash takes for a word of its own
    try:
        targets = conf.list_hosts()
    except DeployError:
        return
    if before and before[-1] == "--hosts":
        parser._actions.clear()
        names = list(_hosts(targets, before))
    elif before and before[-1] == "--promote":
        names = [name for name in targets if name not in before]
    elif (before and _takes_value(parser, before[-1])) or any(name in before for name in targets):
        return
    else:
        names = list(targets)
    parser._actions.extend(Action([name], name, nargs=0) for name in names)


def _takes_value(parser: ArgumentParser, word: str) -> bool:
    return any(word in action.option_strings and action.nargs != 0 for action in parser._actions)


def _hosts(targets: Mapping[str, tuple[str, ...]], before: list[str]) -> Iterator[str]:
    """Of the target that was named already, else of all; each once, by addresses that bash leaves whole."""
    chosen = {name: hosts for name, hosts in targets.items() if name in before} or targets
    found = (host.rpartition("@")[2] for hosts in chosen.values() for host in hosts)
    addresses = dict.fromkeys(re.sub(r":\d+\Z", "", place) for place in found)
    return (address for address in addresses if ":" not in address)
