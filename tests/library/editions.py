"""Editions of the library as they are deployed: each a process of its code, one after the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.step_process import REPOSITORY, StepProcess

MIGRATIONS = sorted(path.name for path in (Path(__file__).parent / "migrations").glob("0*.py"))
LAST = len(MIGRATIONS)


class Edition(StepProcess):
    """The code of one edition, with its migrations and no later ones."""

    def __init__(self, number, database, folder, **environment):
        package = folder / f"edition_{number}"
        if not package.exists():
            package.mkdir()
            (package / "__init__.py").touch()
            for name in MIGRATIONS[:number]:
                shutil.copy(Path(__file__).parent / "migrations" / name, package)
        super().__init__(
            DJANGO_SETTINGS_MODULE="tests.library.settings",
            LIBRARY_DATABASE=json.dumps(database),
            LIBRARY_EDITION=str(number),
            LIBRARY_MIGRATIONS=package.name,
            PYTHONPATH=f"{REPOSITORY}:{folder}",
            **environment,
        )

    def plan(self, *options):
        reply = self.ask(do="plan_migrations", command=["migrate", "--noinput", *options])
        assert reply["ok"], reply
        return reply["plan"]

    def tables(self):
        return self.ask(do="tables")["tables"]

    def migrate(self, *options):
        reply = self.run("migrate", "--noinput", *options)
        assert reply["ok"], reply
        return reply["result"]["applied"]
