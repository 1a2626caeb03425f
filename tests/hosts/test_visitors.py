"""People who use the site while it is deployed."""

from __future__ import annotations

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .bookshop import WEB
from .inspection import assert_serves

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .machines import Machine


#: Answers when the test says so.
SLOW = """\
import os, pathlib, time
from django.http import HttpResponse
from django.urls import path
from bookshop.urls import urlpatterns as others

def slow(request):
    shared = pathlib.Path(os.environ["DJANGO_DEPLOY_SHARED"])
    (shared / "asked").touch()
    deadline = time.monotonic() + 30
    while not (shared / "answer").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return HttpResponse(os.environ["DJANGO_DEPLOY_RELEASE"])

urlpatterns = [path("slow/", slow), *others]
"""

#: gunicorn that hears a second late that it shall stop, as on a machine with much to do.
LATE = f"sh -c '{WEB} & trap \"sleep 1; kill $!\" TERM; wait; wait'"


def test_request_that_takes_long_is_answered_by_the_old_release(host: Machine, bookshop: Bookshop) -> None:
    bookshop.write("catalogue/slow.py", SLOW)
    bookshop.append("bookshop/settings.py", 'ROOT_URLCONF = "catalogue.slow"\n')
    bookshop.target["PROCESSES"]["web"] = LATE
    old = bookshop.deployed()
    bookshop.new_edition()

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(fetch, f"http://{host.address}/slow/")
        host.run("timeout", "10", "sh", "-c", f"until test -e {host.root}/shared/asked; do sleep 0.02; done")
        new = bookshop.deployed()
        wait_until_it_stops(host, old)
        host.run("touch", f"{host.root}/shared/answer")

        assert answer.result() == old
    assert_serves(host, new)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: str = answer.read().decode()
        return body


def wait_until_it_stops(host: Machine, release: str) -> None:
    """Until the web server of that release has lost its socket, and has heard that it shall stop."""
    socket = f"{host.root}/run/web.{release}.sock"
    host.run("timeout", "20", "sh", "-c", f"while test -e {socket}; do sleep 0.05; done; sleep 1.5")
