"""What a target's REQUIREMENTS and LOCK_FILE mean in this environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from django_deploy.bundle.selection import SELF, select
from django_deploy.target import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.requirements.lock_file import LockFile
    from django_deploy.bundle.selection import Selection
    from django_deploy.target import Target


def select_for(
    target: Target,
    distributions: Sequence[Distribution],
    project: Distribution,
    sources: Sources,
    *,
    cache: Path,
) -> Selection:
    """What a target deploys of what is installed, or of what its file names.

    Raises ``BundleError``, also when LOCK_FILE is not equal to it. What reads files takes a tenth of the
    time that a deployment without changes takes here, so it is imported where there is one.
    """
    extras, exclude, include = target.extras, target.exclude, target.include
    if target.requirements in REQUIREMENTS:
        selection = select(
            distributions,
            target.requirements,
            project=project,
            extras=extras,
            exclude=exclude,
            include=include,
        )
    else:
        from django_deploy.bundle.requirements.stated import select_stated

        lock = _read(target, distributions, project, sources, cache)
        selection = select_stated(
            distributions,
            lock,
            sources,
            project=project,
            extras=extras,
            exclude=exclude,
            include=include,
        )
    if target.lock_file is not None:
        from django_deploy.bundle.requirements.drift import require_equal
        from django_deploy.bundle.requirements.lock_file import find_file, read_lock_file

        file = find_file(target.lock_file, _folders(project), "LOCK_FILE")
        locked = read_lock_file(file, extras=extras)
        require_equal(locked, distributions, selection.kept, project)
    return selection


def _folders(project: Distribution) -> tuple[Path, ...]:
    """Where relative paths are looked for: that of manage.py, and the project's own, if it is another."""
    program = Path(sys.argv[0])
    here = program.resolve().parent if program.name == "manage.py" else Path.cwd()
    source = project.source
    return (here, source) if source is not None and source.is_dir() else (here,)


def _read(
    target: Target,
    distributions: Sequence[Distribution],
    project: Distribution,
    sources: Sources,
    cache: Path,
) -> LockFile:
    from django_deploy.bundle.requirements.compilation import compile_requirements
    from django_deploy.bundle.requirements.lock_file import find_file, read_lock_file

    file = find_file(target.requirements, _folders(project), "REQUIREMENTS")
    if file.suffix != ".in":
        return read_lock_file(file, extras=target.extras)
    whole = select(distributions, project=project, exclude=target.exclude, include=target.include)
    local = (item.name for item in whole.kept if item.kind != "index" or item.name == SELF)
    wanted = [*local, *_with_extras(project, target), *target.include]
    return compile_requirements(file, distributions, sources, wanted=wanted, cache=cache)


def _with_extras(project: Distribution, target: Target) -> Iterator[str]:
    if target.extras:
        yield f"{project.name}[{','.join(target.extras)}]"
