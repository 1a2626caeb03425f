"""The frames of tracebacks, and which of them are nobody's own. The deployer's side goes by it as well."""

from __future__ import annotations

import re

#: The head of a frame, behind whatever a log puts before a line; of a SyntaxError it ends here.
FRAME = re.compile(r'(?P<before>.*?)  File "(?P<file>[^"]+)", line (?P<line>\d+)')

#: Files in which nobody looks for a mistake of their own: Python's, Django's, servers', our launchers.
MACHINERY = re.compile(
    r"^<|/lib(64)?/python3[^/]*/(?!site-packages/|dist-packages/)|/(manage|launch)\.py$"
    r"|/site-packages/(asgiref|celery|daphne|django|gunicorn|uvicorn)/"
)
