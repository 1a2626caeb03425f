"""An SSH server that is not OpenSSH's: runs commands with the shell, and forwards TCP.

Called with the folder of its keys and the HOME of what it runs; prints ``port N``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncssh

#: What is in it opens the door, if it is there.
PASSWORD = Path(sys.argv[1], "password")

#: If this is there, too, the password is asked for as PAM does.
INTERACTIVE = Path(sys.argv[1], "interactive")


class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return PASSWORD.exists() and not INTERACTIVE.exists()

    def kbdint_auth_supported(self):
        return INTERACTIVE.exists()

    def get_kbdint_challenge(self, username, lang, submethods):
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username, responses):
        return self.validate_password(username, *responses)

    def validate_password(self, username, password):
        with PASSWORD.with_name("passwords").open("a") as tries:
            tries.write(f"{password}\n")
        return password == PASSWORD.read_text()

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True


async def pump(source, sink) -> None:
    """Copy until the source ends or the sink is gone."""
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()
    except (OSError, asyncssh.Error):
        pass


async def serve(folder: Path, home: Path) -> None:
    async def run(process: asyncssh.SSHServerProcess) -> None:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            env=os.environ | {"HOME": str(home)},
        )
        feeding = asyncio.create_task(pump(process.stdin, child.stdin))
        await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
        process.exit(await child.wait())
        feeding.cancel()

    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[str(folder / "host_ed25519"), str(folder / "host_rsa")],
        authorized_client_keys=str(folder / "authorized_keys"),
        process_factory=run,
        encoding=None,
        agent_forwarding=False,
    )
    print("port", listener.get_port(), flush=True)
    await listener.wait_closed()


asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
