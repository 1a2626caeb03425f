"""``manage.py deploy_doctor TARGET``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from django_deploy.doctor.finding import ERROR, NOT_CHECKED, OK, WARNING, Finding
from django_deploy.exceptions import DeployError
from django_deploy.host.protocol import Event
from django_deploy.management.base import DeployCommand
from django_deploy.management.help_text import with_examples
from django_deploy.reporters.text import count

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.reporters.plain import Reporter

EXAMPLES = """
  manage.py deploy_doctor staging
  manage.py deploy_doctor staging --hosts web2
  manage.py deploy_doctor staging --domain shop.example.com
"""

#: What stands before each finding, also where there is no colour.
MARKS = {OK: "ok", WARNING: "WARN", ERROR: "ERROR", NOT_CHECKED: "-"}


class Command(DeployCommand):
    """A checklist with remedies; changes nothing."""

    help = (
        "Goes through what a site needs, here and on every host, in the order of causes: the first line that "
        "is red is where to begin. Changes nothing. Exit status 1 when anything is red."
    )
    create_parser = with_examples(EXAMPLES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument("--domain", default="", help="The site's name (default: the target's DOMAIN).")
        parser.add_argument("--json", action="store_true", help="Print one finding a line, as JSON.")
        self.add_hosts_argument(parser)

    def handle(self, *, target: str, domain: str, json: bool, hosts: str | None, **options: Any) -> None:
        from django_deploy.doctor.diagnosis import HERE, diagnose
        from django_deploy.management.system_checks import check_settings

        chosen = self.get_target(target, hosts)
        with self.reporting(json=json, options={**options, "verbosity": 0}) as reporter:
            terminal = self.terminal(reporter, json=json)
            is_brief = options["verbosity"] == 0
            with closing(diagnose(chosen, domain_name=domain, prompts=terminal)) as diagnosed:
                findings = chain([(HERE, check_settings())], diagnosed)
                found = list(self.showing(findings, reporter if json else None, is_brief=is_brief))
            self.conclude(found, json=json)

    def showing(
        self, findings: Iterable[tuple[str, Finding]], reporter: Reporter | None, *, is_brief: bool
    ) -> Iterator[tuple[str, Finding]]:
        """Passes each on as soon as it is known and shown; if brief, what is well is not shown."""
        shown_place = ""
        for place, finding in findings:
            if reporter is not None:
                reporter(Event("checked", place, fields=asdict(finding)))
            elif finding.outcome in (WARNING, ERROR) or not is_brief:
                if place != shown_place:
                    self.say(self.style.MIGRATE_HEADING(self.presentable(place)))
                self.say("\n".join(self.describe(finding)))
                self.stdout.flush()
                shown_place = place
            yield place, finding

    def describe(self, finding: Finding) -> Iterable[str]:
        """For people: the mark, the check, what was found, and what to do."""
        styles = {OK: self.style.SUCCESS, WARNING: self.style.WARNING, ERROR: self.style.ERROR}
        style = styles.get(finding.outcome, str)
        text = finding.message if finding.outcome != NOT_CHECKED else f"not checked: {finding.message}"
        first, *rest = self.presentable(text).splitlines() or [""]
        yield f"  {style(f'{MARKS[finding.outcome]:5}')}  {finding.check:17}  {first}"
        yield from (f"{'':28}{line}" for line in rest)
        yield from (f"{'':26}> {line}" for line in self.presentable(finding.remedy).splitlines())

    def conclude(self, found: list[tuple[str, Finding]], *, json: bool) -> None:
        """How many of each kind; where to begin."""
        numbers = Counter(finding.outcome for _, finding in found)
        if not json:
            unknown = f", {numbers[NOT_CHECKED]} not checked" if numbers[NOT_CHECKED] else ""
            words = [count("error", str(numbers[ERROR])), count("warning", str(numbers[WARNING]))]
            self.say(f"{', '.join(words)}{unknown}, {numbers[OK]} ok.")
        first = next(((place, finding) for place, finding in found if finding.outcome == ERROR), None)
        if first is not None:
            place, finding = first
            raise DeployError(
                f"Begin with: {place}: {finding.check}: {finding.message}", remedy=finding.remedy
            )
