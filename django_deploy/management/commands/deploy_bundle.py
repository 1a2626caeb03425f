"""``manage.py deploy_bundle TARGET``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_deploy.exceptions import ConfigError, DeployError
from django_deploy.management.base import DeployCommand, check_writable
from django_deploy.management.help_text import with_examples

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_deploy.target import Target

EXAMPLES = """
  manage.py deploy_bundle staging -o shop.bundle
  manage.py deploy_bundle staging --explain psycopg
"""


class Command(DeployCommand):
    """Makes the bundle of a target without deploying it."""

    help = (
        "Makes what 'deploy' would take to the hosts of a target. With -o it is written into one file, "
        "which 'deploy --bundle' deploys. Exit status as of 'deploy'."
    )
    create_parser = with_examples(EXAMPLES, are_mixed=False)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="A key of DEPLOY_TARGETS.")
        parser.add_argument(
            "-o", "--output", type=Path, metavar="FILE", help="Write the bundle into this file."
        )
        parser.add_argument(
            "--sbom", type=Path, metavar="FILE", help="Write its bill of materials (CycloneDX) into this one."
        )
        parser.add_argument(
            "--revision", metavar="REV", help="Take the project from this revision, as 'deploy --revision'."
        )
        parser.add_argument(
            "--files",
            action="store_true",
            help="List the files of a project that is no package, and what of it stays here.",
        )
        parser.add_argument(
            "--explain", metavar="NAME", help="Say why a distribution is deployed, or is not; write nothing."
        )
        parser.add_argument("--json", action="store_true", help="Print one event a line, as JSON.")

    def handle(
        self,
        *,
        target: str,
        output: Path | None,
        sbom: Path | None,
        files: bool,
        explain: str | None,
        json: bool,
        **options: Any,
    ) -> None:
        chosen = self.get_target(target)
        if explain is not None:
            return self.explain(chosen, explain)
        if files:
            return self.list_files(chosen)
        if output is None and sbom is None:
            raise ConfigError("Nothing was asked for.", remedy="Name the file to write: -o FILE.")
        return self.write(chosen, output, sbom, json=json, options=options)

    def explain(self, target: Target, name: str) -> None:
        """Why a distribution is deployed, or is not."""
        from django_deploy.bundle.explanation import explain_for

        for line in explain_for(target, name):
            self.say(self.presentable(line))

    def list_files(self, target: Target) -> None:
        """Each file with its size in bytes, then what stays here, marked by a minus."""
        from django_deploy.bundle.assembly import list_project

        contents = list_project(target)
        if contents is None:
            raise DeployError(
                "The project is a package: its build decides which files are deployed.",
                remedy="`pip wheel --no-deps FOLDER` makes its wheel.",
            )
        for file in contents.files:
            self.say(self.presentable(f"{file.size:12}  {file.name}"))
        for name in contents.left_out:
            self.say(self.presentable(f"{'-':>12}  {name}"))

    def write(
        self, target: Target, file: Path | None, sbom: Path | None, *, json: bool, options: dict[str, Any]
    ) -> None:
        """Into a file: what runs here, or a revision of it; and its bill of materials."""
        from django_deploy import origins, packing

        for option, path in (("-o", file), ("--sbom", sbom)):
            if path is not None:
                check_writable(option, path)
        origin = origins.from_environment(target, options["revision"])
        with self.reporting(json=json, options=options) as reporter:
            terminal = self.terminal(reporter, json=json)
            packing.pack(target, origin, file, sbom, report=reporter, prompts=terminal)
