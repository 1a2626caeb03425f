"""How a script gets to a host and is run there; as root and by sudo: ``tests/hosts/test_setup.py``."""

from __future__ import annotations

import subprocess

import pytest

from django_deploy.transport.administration import BOOT, READY


@pytest.fixture
def run(tmp_path):
    """Runs BOOT in a folder of its own; the files' sizes may be other ones than they are."""

    def run(files, sizes=None, **streams):
        words = [
            word for name, text in files.items() for word in (name, str((sizes or {}).get(name, len(text))))
        ]
        boot = BOOT.replace("/run/", f"{tmp_path}/")
        return subprocess.run(
            ["sh", "-c", boot, "sh", *words], input="".join(files.values()), text=True, **streams
        )

    return run


def test_output_and_exit_status(run, tmp_path):
    script = 'cat "$DEPLOY_FILES/shop.key"; echo oh >&2; read line || echo end; printf half; exit 7\n'

    done = run({"script.sh": script, "shop.key": "secret\n"}, capture_output=True)

    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"{READY}\nsecret\noh\nend\nhalf\n"
    assert [*tmp_path.iterdir()] == []


def test_only_the_user_may_read_what_is_sent(run):
    script = 'stat -c "%a" "$DEPLOY_FILES" "$DEPLOY_FILES/shop.key"; umask\n'

    done = run({"script.sh": script, "shop.key": "secret\n"}, capture_output=True)

    assert done.stdout == f"{READY}\n700\n600\n0022\n"


def test_half_a_script_is_not_run(run, tmp_path):
    done = run({"script.sh": "touch made; "}, {"script.sh": 20}, capture_output=True, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (71, f"{READY}\n")
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_one_has_left_is_removed(run, tmp_path):
    with subprocess.Popen(["sleep", "60"]) as process:
        for name, pid in (("running", process.pid), ("killed", 2**22 + 1)):
            (tmp_path / f"django-deploy.{name}").mkdir()
            (tmp_path / f"django-deploy.{name}/.pid").write_text(f"{pid}\n")

        run({"script.sh": "true\n"}, capture_output=True)
        process.kill()

    assert [path.name for path in tmp_path.iterdir()] == ["django-deploy.running"]


def test_a_script_goes_on_when_nobody_listens(run, tmp_path):
    made = tmp_path / "made"
    script = f"for number in 1 2 3 4 5 6 7 8 9; do echo $number; sleep 0.05; done; touch {made}\n"

    with subprocess.Popen(["head", "-n", "2"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        done = run({"script.sh": script}, stdout=reader.stdin, stderr=subprocess.DEVNULL)

    assert done.returncode == 0
    assert made.exists()
