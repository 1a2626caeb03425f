"""nginx of one host as the balancer in front of others, which hides none of their failures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .base import RigError
from .inspection import visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .machines import Machine

BALANCER = """\
upstream hosts {{
{servers}
    keepalive 32;
}}
server {{
    listen 80 default_server;
    location / {{
        proxy_pass http://hosts;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host {name};
        # By default a request that one host loses is asked of the other one, and nobody sees it.
        proxy_next_upstream off;
    }}
}}
"""


def balance(balancer: Machine, hosts: Sequence[Machine]) -> None:
    """From now on ``balancer`` shares out its requests among the hosts' own web servers."""
    servers = "\n".join(f"    server {host.address}:80 max_fails=0;" for host in hosts)
    text = BALANCER.format(servers=servers, name=hosts[0].address)
    balancer.put("/etc/nginx/sites-enabled/site", text, owner="root")
    # No reload: the workers of before would still answer for a moment, from another configuration.
    balancer.run("systemctl", "restart", "nginx", user="root")
    deadline = time.monotonic() + 20
    while visit(balancer).status != 200:
        if time.monotonic() > deadline:
            raise RigError(f"{balancer.name} does not reach {', '.join(host.name for host in hosts)}.")
        time.sleep(0.1)
