"""The web server on a host, and its way to the site's sockets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote
from typing import Any

from django_deploy.doctor.finding import Finding, error, not_checked, ok, warning
from django_deploy.doctor.machine import unexamined
from django_deploy.doctor.subject import Subject

#: Bits of a mode: to enter a folder, to write to a socket; for others. A group's are 8 times, the owner's 64
#: times as much.
ENTER, WRITE = 1, 2

NO_SERVER = "neither nginx nor Caddy is on this host"


def check_permissions(subject: Subject) -> Finding:
    """Each folder on the way to the sockets lets the web server in, and the sockets take what it sends."""
    server = _running_server(subject)
    if subject.live is None:
        return unexamined("permissions")
    if server is None:
        name = subject.target.web or "nginx or Caddy"
        return not_checked("permissions", f"no {name} is seen running on this host")
    who = f"{server['user']}, the user of {server['name']},"
    hindrances = [part for part in subject.examination["way"] if not may_pass(server, part)]
    if not hindrances:
        what = "the sockets and static files" if subject.target.web else "the sockets"
        return ok("permissions", f"{server['user']} ({server['name']}) can reach {what}")
    part = hindrances[0]
    where = f"{part['path']} (mode {part['mode']:04o})"
    if part["has_acl"]:
        remedy = f"On the host: getfacl {quote(part['path'])}"
        return not_checked("permissions", f"{part['path']} has an access control list, not read here", remedy)
    # One that is not told of the sockets may be there for another site.
    make = error if _names_sockets(subject) else warning
    if part["is_folder"]:
        remedy = f"On the host, as its owner or as root: chmod o+x {quote(part['path'])}"
        return make("permissions", f"{who} may not enter {where}", remedy)
    remedy = "Have the web process make a socket that others may write to (gunicorn: --umask 0)."
    return make("permissions", f"{who} may not write to {where}", remedy)


def _names_sockets(subject: Subject) -> bool:
    configuration = subject.examination["configuration"]
    return configuration is not None and bool(configuration["files"])


def may_pass(server: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """As the kernel judges (path_resolution(7)): the first class that fits decides, root may do all."""
    bit = ENTER if part["is_folder"] else WRITE
    if server["uid"] == 0:
        return True
    if server["uid"] == part["uid"]:
        bit <<= 6
    elif part["gid"] in server["groups"]:
        bit <<= 3
    return bool(part["mode"] & bit)


def _running_server(subject: Subject) -> Mapping[str, Any] | None:
    """The one that WEB names, if it names one."""
    web = subject.target.web
    servers = [server for server in subject.examination["servers"] if web in (None, server["name"])]
    return next((server for server in servers if server["is_running"]), None)


def check_web_server(subject: Subject) -> Finding:
    """It runs, its configuration is sound, and names the sockets."""
    found = subject.examination["configuration"]
    if found is None:
        return not_checked("web server", NO_SERVER, "The site can be served from elsewhere; look there.")
    name = found["server"]
    if subject.target.web not in (None, name):
        message = f"{subject.target.web}, which WEB names, is not on this host; {name} is"
        return error("web server", message, f"manage.py deploy_setup {subject.target.name} installs it.")
    if trouble := _complaint(found["lines"]):
        remedy = f"Fix it there, then as root: {_test_command(name)} && systemctl reload {name}"
        return error("web server", f"{name} refuses its configuration: {trouble}", remedy)
    if _running_server(subject) is None:
        remedy = f"On the host, as root: systemctl start {name}; journalctl --unit {name} says why it ended."
        return error("web server", f"{name} is installed and does not run", remedy)
    links = [socket["link"] for socket in subject.examination["sockets"]]
    if links and not found["files"]:
        return _not_named(subject, name, links[0])
    if not _is_sound(found):
        return not_checked(
            "web server",
            f"{name} runs, and only root may test its configuration",
            f"On the host: sudo {_test_command(name)}",
        )
    files = f": {', '.join(found['files'])}" if found["files"] else ""
    return ok("web server", f"{name} runs, and its configuration is sound{files}")


def _not_named(subject: Subject, name: str, link: str) -> Finding:
    """Another server may be in front of the site, if the target does not say that it is this one."""
    message = f"{name} runs, and no file that it reads names {link}"
    remedy = f"Where it passes requests on, say: {_directive(name, link)}"
    if subject.target.web != name:
        return warning("web server", message, remedy)
    remedy = f"manage.py deploy_setup {subject.target.name} fixes it. In a file of your own: {remedy}"
    return error("web server", message, remedy)


def _directive(name: str, link: str) -> str:
    return f"proxy_pass http://unix:{link};" if name == "nginx" else f"reverse_proxy unix/{link}"


def _test_command(name: str) -> str:
    return "nginx -t" if name == "nginx" else "caddy validate --config /etc/caddy/Caddyfile"


def _is_sound(found: Mapping[str, Any]) -> bool:
    """nginx says so before it fails, without root, to write its pid file."""
    return found["status"] == 0 or any(line.endswith("syntax is ok") for line in found["lines"])


def _complaint(lines: list[str]) -> str:
    """What is wrong with the configuration; not that a plain user may not read all that it names."""
    for line in lines:
        match = re.search(r"\[emerg\] (?:\d+#\d+: )?(.*)|^Error: (.*)", line)
        text = match and (match[1] or match[2])
        if text and "ermission denied" not in text:
            return text
    return ""
