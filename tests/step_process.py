"""The site's side of a deployment as a real process, as the host program starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


class StepProcess:
    def __init__(self, **environment):
        read, write = os.pipe()
        self.replies = os.fdopen(read)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "deploy_steps", "--reply-fd", str(write)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[write],
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        )
        os.close(write)

    def send(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def ask(self, **request):
        self.send(**request)
        line = self.replies.readline()
        return json.loads(line) if line else self._died()

    def _died(self):
        raise AssertionError(self.process.stderr.read())

    def run(self, *command):
        return self.ask(do="run", command=command)

    def end(self):
        """Ends the input; answers exit status, standard output and error."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err

    def close(self):
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr, self.replies):
            stream.close()
        self.process.wait()
