from __future__ import annotations

import os
import subprocess
import sys

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.renewal import copy_release

OLD, NEW = "20261122T174500Z-3f9c2a1", "20261122T184500Z-3f9c2a1"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    old = layout.release(OLD).path
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", old / "venv"], check=True)
    packages = next((old / "venv").glob("lib/python*/site-packages"))
    files = {
        "site.json": f'{{"static_root": "{old}/static"}}',
        "static/site.css": f"/* {OLD} */",
        "venv/bin/greet": f"#!{old}/venv/bin/python\nimport greeting\n",
        "venv/app/manage.py": "",
        packages / "greeting.py": "import sys; print(sys.prefix)",
        packages / "project.pth": f"{old}/venv/app",
    }
    for name, text in files.items():
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_text(text)
    (old / "venv/bin/greet").chmod(0o755)
    (old / "site.json").chmod(0o600)
    (old / "latest").symlink_to(old / "static")
    copy_release(layout.release(OLD), layout.release(NEW))
    return layout


def test_scripts_run_in_the_new_virtualenv(layout):
    new = layout.release(NEW).path

    done = subprocess.run([new / "venv/bin/greet"], capture_output=True, text=True, check=True)

    assert done.stdout == f"{new}/venv\n"


def test_files_that_name_their_place_name_the_new_one(layout):
    new = layout.release(NEW).path

    assert (new / "site.json").read_text() == f'{{"static_root": "{new}/static"}}'
    assert next(new.glob("venv/lib/python*/site-packages/project.pth")).read_text() == f"{new}/venv/app"
    assert os.readlink(new / "latest") == f"{new}/static"
    assert OLD not in (new / "venv/pyvenv.cfg").read_text()
    assert (new / "site.json").stat().st_mode & 0o777 == 0o600


def test_what_nobody_writes_to_is_a_link_and_the_project_is_not(layout):
    new = layout.release(NEW).path

    assert next(new.glob("venv/lib/python*/site-packages/greeting.py")).stat().st_nlink == 2
    assert (new / "static/site.css").read_text() == f"/* {OLD} */"
    assert (new / "static/site.css").stat().st_nlink == 2
    assert (new / "venv/app/manage.py").stat().st_nlink == 1


def test_the_old_one_is_as_it_was(layout):
    old = layout.release(OLD).path

    done = subprocess.run([old / "venv/bin/greet"], capture_output=True, text=True, check=True)

    assert done.stdout == f"{old}/venv\n"
