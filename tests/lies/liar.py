"""A host program that lies: ``python liar.py LIE``. It knows the protocol, and nothing of us is imported.

A lie is a function below. Most answer the hello as an honest host would, and go wrong later.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import sys
import time

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\u202e\x9b1mred"
PIECE = b"x" * (1 << 16)
FACTS = {
    "user": "deploy",
    "node": "web1",
    "python": {
        "version": list(sys.version_info[:3]),
        "implementation": "cpython",
        "machine": os.uname().machine,
        "system": "linux",
        "glibc": "2.36",
        "musl": None,
        "free_threaded": False,
    },
    "uv": True,
    "supervisor": True,
    "manager": "supervisor",
    "systemd": False,
    "lingers": False,
    "lock": None,
    "live": None,
    "current": None,
    "releases": [],
    "store": [],
    "tools": [],
    "processes": [],
    "free_bytes": 10**12,
    "free_inodes": None,
    "obstacle": None,
    "unfinished": False,
    "deferred": [],
    "durations": [{"made": 10.0, "activated": 1.5}],
    "maintenance": None,
    "linked": True,
    "transaction": {"release": None, "phase": None},
    "cleanup_failed": "",
}
RELEASE = {"id": "20261122T174500Z-3f9c2a1", "state": "live"}


def write(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def say(**message):
    write(json.dumps(message).encode() + b"\n")


def event(kind, **fields):
    say(event=kind, at=1.0, **fields)


def hello(**changes):
    say(id=0, result={**FACTS, **changes})


def requests():
    """Those of the deployer, to the end of its input."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "blob" in message:
            sys.stdin.buffer.read(message["size"])
        elif "request" in message:
            yield message


def answer(on, work):
    """Answer all requests as an honest host, but do ``work`` for the one named ``on``."""
    hello()
    for message in requests():
        if message["request"] == on:
            work(message["id"])
        else:
            say(id=message["id"], result={})


def fail(id, **fields):
    error = {"type": "StepFailed", "message": "no", "remedy": "", "details": {}, "reverted": True}
    say(id=id, error={**error, **fields})


def wait():
    """Until nobody listens."""
    while sys.stdin.buffer.read(1):
        pass


def endlessly(data, rest=()):
    for piece in rest:
        write(piece)
    while True:
        write(data)


def beat():
    while True:
        say(heartbeat=True)
        time.sleep(0.1)


def fetches(content):
    """Each piece is what ``content`` makes of its offset and the host's patience."""
    hello()
    for message in requests():
        content(message)


def piece(message, data, size=1 << 20):
    say(id=message["id"], result={"size": size, "data": base64.b64encode(data).decode()})


#: Before or in the answer to the hello.
HELLOS = {
    "greets": lambda: write(f"Welcome to web1 {ESCAPES}\n".encode()),
    "says nothing": lambda: None,
    "talks binary": lambda: write(bytes(range(256)) * 100 + b"\n"),
    "never ends a line": lambda: endlessly(PIECE),
    "only ends lines": lambda: endlessly(b"\n" * 1000),
    "goes deep": lambda: write(b"[" * 1_000_000 + b"\n"),
    "goes deep in an object": lambda: write(b'{"event":' + b'{"a":' * 500 + b"1" + b"}" * 501 + b"\n"),
    "counts high": lambda: write(b'{"id":' + b"9" * 1_000_000 + b"}\n"),
    "is not a number": lambda: write(b'{"id":0,"at":NaN}\n'),
    "is infinite": lambda: write(b'{"id":0,"at":1e999}\n'),
    "invents a message": lambda: say(**{f"exec{ESCAPES}": "rm -rf /"}),
    "answers what nobody asked": lambda: say(id=7, result={}),
    "answers to a list": lambda: say(id=[0], result={}),
    "answers with true": lambda: say(id=True, result={}),
    "answers nothing": lambda: say(id=0),
    "answers a text": lambda: say(id=0, result="fine"),
    "fails without words": lambda: say(id=0, error="no"),
    "fails in a list": lambda: say(id=0, error={"type": [], "message": "no"}),
    "beats and never answers": beat,
    "invents an event": lambda: event(f"own{ESCAPES}"),
    "has no time": lambda: say(event="warning", message="x"),
    "reports the deployer's own events": lambda: event("rollout.finished", outcome="deployed"),
    "has an odd release": lambda: hello(releases=[{**RELEASE, "id": "../../etc"}]),
    "has a release of no day": lambda: hello(releases=[{**RELEASE, "id": "20269999T999999Z-0000000"}]),
    "has an odd state": lambda: hello(releases=[{**RELEASE, "state": ESCAPES}]),
    "created a text": lambda: hello(releases=[{**RELEASE, "created": "today"}]),
    "has an old glibc": lambda: hello(python={**FACTS["python"], "glibc": "2.1000000000"}),
    "has a new python": lambda: hello(python={**FACTS["python"], "version": [3, 10**30, 0]}),
    "has a short python": lambda: hello(python={**FACTS["python"], "version": [3]}),
    "is an odd machine": lambda: hello(python={**FACTS["python"], "machine": "../../x"}),
    "stores what is no hash": lambda: hello(store=["../../../etc/passwd"]),
    "has processes of no name": lambda: hello(processes=[{"state": "running"}]),
    "has no facts": lambda: say(id=0, result={}),
}


def flood_of_output(id):
    for line, thousands in (("o" * 8000, 9), ("o", 20)):
        output = {"event": "step.output", "at": 1.0, "step": "s", "stream": "stdout", "line": line}
        some = (json.dumps(output).encode() + b"\n") * 1000
        for _ in range(thousands):
            write(some)
    say(id=id, result={})


def flood_of_events(id):
    for number in range(1_000_000):
        event("warning", message=f"{number}", remedy="")
    say(id=id, result={})


MANY = b"[" + b"[]," * 1_300_000 + b"[]]"


def large_event(id):
    write(b'{"event":"step.output","at":1,"line":' + MANY + b"}\n")
    say(id=id, result={})


def large_result(id):
    write(b'{"id":%d,"result":{"result":{"applied":%s}}}\n' % (id, b"[" + b'"",' * 1_300_000 + b'""]'))


def says_it_twice(id):
    say(id=id, result={})
    say(id=id, result={})


def beats_for_ever(id):
    beat()


LINES = [f"{number} {ESCAPES}" for number in range(10_000)]

#: In the middle of a deployment.
ANSWERS = {
    "is honest": ("", None),
    "fails with escapes": ("prepare", lambda id: fail(id, message=f"no {ESCAPES}", remedy=ESCAPES)),
    "fails at length": ("prepare", lambda id: fail(id, message="no\n" * 100_000, details={"lines": LINES})),
    "fails with odd lines": ("prepare", lambda id: fail(id, details={"lines": [1, 2]})),
    "applied a number": ("prepare", lambda id: say(id=id, result={"result": {"applied": 5}})),
    "applied a number and failed": ("prepare", lambda id: fail(id, details={"applied": 5})),
    "tore a number and failed": ("prepare", lambda id: fail(id, details={"torn": [5]})),
    "checked a number": ("activate", lambda id: say(id=id, result={"checked": 5})),
    "says it twice": ("prepare", says_it_twice),
    "leaves": ("prepare", lambda id: sys.exit(3)),
    "beats for ever": ("prepare", beats_for_ever),
    "has very much output": ("prepare", flood_of_output),
    "has very many events": ("prepare", flood_of_events),
    "has a large event": ("prepare", large_event),
    "has a large result": ("prepare", large_result),
    "wants files": ("prepare", lambda id: (say(wanted="/etc/passwd", why=ESCAPES), say(id=id, result={}))),
    "reports escapes": (
        "prepare",
        lambda id: (event("warning", message=ESCAPES, remedy=ESCAPES), say(id=id, result={})),
    ),
}

#: When a file is fetched.
FETCHES = {
    "gives other bytes": lambda message: piece(message, b"y" * (1 << 20)),
    "gives too much": lambda message: piece(message, b"y" * ((1 << 20) + 1)),
    "gives nothing": lambda message: piece(message, b""),
    "gives what is no base64": lambda message: say(id=message["id"], result={"size": 1, "data": "%%%"}),
    "gives a number": lambda message: say(id=message["id"], result={"size": 1, "data": 5}),
    "gives an endless lock": lambda message: piece(message, b"y" * (1 << 20), size=10**15),
    "beats instead": lambda message: beat(),
}


def lists(*files, more=False):
    """MEDIA_ROOT has these files; a piece of any of them is as the sha256 of b"evil" says."""

    def content(message):
        if message["request"] == "list_media":
            say(id=message["id"], result={"files": files, "more": more, "left_out": [], "unreadable": []})
        else:
            say(id=message["id"], result={**EVIL, "sha256": hashlib.sha256(b"evil").hexdigest()})

    return content


EVIL = {"size": 4, "data": base64.b64encode(b"evil").decode()}
SECOND = 10**9


NUMBERS = itertools.count()


def lists_endlessly(message):
    files = [[f"{next(NUMBERS)}", 4, SECOND] for _ in range(1000)]
    lists(*files, more=True)(message)


def sends(**piece):
    """One honest name, and this piece of it."""

    def content(message):
        if message["request"] == "list_media":
            lists(["cover", 4, SECOND])(message)
        else:
            say(id=message["id"], result=piece)

    return content


#: When media files are fetched.
MEDIA = {
    "lists a file above": lists(["../evil", 4, SECOND]),
    "lists a file far above": lists(["covers/../../../../evil", 4, SECOND]),
    "lists an absolute path": lists(["/tmp/evil", 4, SECOND]),
    "lists a file of no name": lists(["", 4, SECOND]),
    "lists the folder": lists([".", 4, SECOND]),
    "lists half a character": lists(["\ud800", 4, SECOND]),
    "lists a zero": lists(["a\0b", 4, SECOND]),
    "lists a long name": lists(["x" * 300, 4, SECOND]),
    "lists a file twice": lists(["cover", 4, SECOND], ["cover", 4, SECOND]),
    "lists a file of less than nothing": lists(["cover", -1, SECOND]),
    "lists a file of 100 TB": lists(["cover", 10**14, SECOND]),
    "lists what is a file and a folder": lists(["cover", 4, SECOND], ["cover/evil", 4, SECOND]),
    "lists a part of ours": lists([".deploy_fetch-0123456789abcdef.part", 4, SECOND]),
    "lists a file behind a link": lists(["away/evil", 4, SECOND]),
    "lists nothing": lists(),
    "lists without an end": lists_endlessly,
    "lists nothing without an end": lists(more=True),
    "sends a file of other bytes": sends(size=4, data=EVIL["data"], sha256="0" * 64),
    "sends a file without a sha256": sends(size=4, data=EVIL["data"]),
    "sends more than it lists": sends(size=4, data=base64.b64encode(b"evil" * 100).decode()),
    "sends nothing of a file": sends(size=4, data=""),
    "sends a number": sends(size=4, data=7),
}

COPY = {
    "name": "20261122T212337Z-default",
    "database": "default",
    "place": f"sqlite {ESCAPES}",
    "suffix": ".sqlite3",
    "size": 4,
    "sha256": "0" * 64,
    "at": 1.0,
}


def copies(**changes):
    def content(message):
        if message["request"] == "copy_database":
            say(id=message["id"], result={"copy": {**COPY, **changes}})
        else:
            say(id=message["id"], result=EVIL if message["request"] == "fetch" else {})

    return content


#: When a database is fetched.
COPIES = {
    "copies other bytes": copies(),
    "copies less": copies(size=2 << 20),
    "copies 100 TB": copies(size=10**14),
    "copies to another place": copies(suffix="/../../evil"),
    "copies under another name": copies(name="../../evil"),
}


REQUESTED = {**FETCHES, **MEDIA, **COPIES}


def main(lie):
    if lie in HELLOS:
        HELLOS[lie]()
        wait()
    elif lie in REQUESTED:
        fetches(REQUESTED[lie])
    else:
        answer(*ANSWERS[lie])


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except BrokenPipeError:
        os._exit(0)
