"""The program that runs on a host, and the protocol that it speaks.

The whole folder is sent in the argv of one ``python3 -I -S`` on the session's only channel and runs
from memory: the standard library and relative imports only, Python 3.9 or newer, nothing is left
installed. ``transport/program.py`` packs it.

Argv
    The packed sources and the first message (a ``hello``), see ``transport/program.py``.

Standard input, standard output
    One JSON object a line, UTF-8, both ways. A line ``{"blob": SHA256, "size": N, "name": NAME}``
    from the deployer is followed by exactly N raw bytes: an artifact for the store. With ``"base": SHA256,
    "whole": SIZE`` beside, the N bytes are a recipe (``delta.py``) that makes a file of SIZE bytes of one
    that the store has.

From the deployer
    ``{"hello": VERSION, "root", "python", "manager", "heartbeat": SECONDS, "silence": SECONDS}``
        The first message. It is answered like a request with id 0: what the host is and has (``probe.py``).
    ``{"id": N, "request": NAME, ...}``
        A request, answered in order. The deployer need not wait for a reply before it sends the next
        one: when a request fails, those behind it that need its transaction are answered with
        ``Aborted``. The whitelist is ``REQUESTS`` in ``__main__.py``, each request's fields are in
        ``requests.py``.
    ``{"abort": true}``
        Ctrl-C: what runs is stopped (a step that must not be is finished), the transaction is undone.
    ``{"heartbeat": true}``
        Every ``heartbeat`` seconds.

To the deployer
    ``{"id": N, "result": {...}}`` or
    ``{"id": N, "error": {"type", "message", "remedy", "details", "reverted"}}``
    ``{"event": KIND, "at": SECONDS, ...}``: see ``protocol.Event``.
    ``{"wanted": SHA256, "why": TEXT}``: a recipe came to nothing, or what the store had is damaged, so the
        whole artifact is to be sent. ``prepare`` waits for it.
    ``{"heartbeat": true}``

End of input, or ``silence`` seconds without a byte, is an abort. So is SIGTERM, SIGHUP and SIGINT. After
``confirm`` it is not: the program finishes alone.

Standard error
    Tracebacks of bugs only.

Exit status
    0 when all went well, 1 when a transaction was undone, 2 for a hello that it does not understand.
"""
