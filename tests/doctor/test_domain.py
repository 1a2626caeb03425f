from __future__ import annotations

import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from django_deploy.doctor import domain
from django_deploy.doctor.finding import Finding
from tests.bundle.certificates import Authority

DAY = 86400.0
LOOPBACK = "127.0.0.1"


def test_name():
    assert domain.check_name(LOOPBACK, {LOOPBACK, "10.0.0.7"}) == Finding(
        "dns", "ok", "127.0.0.1 leads to 127.0.0.1"
    )
    assert domain.check_name(LOOPBACK, set()) == Finding("dns", "ok", "127.0.0.1 leads to 127.0.0.1")
    assert domain.check_name(LOOPBACK, {"10.0.0.8", "10.0.0.7"}) == Finding(
        "dns",
        "warning",
        "127.0.0.1 leads to 127.0.0.1, and to none of the hosts (10.0.0.7, 10.0.0.8)",
        "Right behind a load balancer or a CDN; else fix its A and AAAA records.",
    )


def test_name_that_is_not_found():
    found = domain.check_name("shop.invalid", ())

    assert found.outcome == "error"
    assert found.message.startswith("shop.invalid is not found: ")
    assert found.remedy == "Make an A or AAAA record of shop.invalid where its zone is kept."
    assert domain.check_name(f"{'a' * 70}.example", ()).outcome == "error"


def test_without_a_domain():
    message = "the target names no DOMAIN (--domain gives one)"

    assert domain.check_name("", ()) == Finding("dns", "not checked", message)
    assert domain.check_certificate("") == Finding("certificate", "not checked", message)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def port(authority):
    """A server with a certificate that is good for a day."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certify("shop"))
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as tls:
                        tls.recv(1)
                except OSError:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("days", "outcome", "left"), [(40, "ok", 40), (20, "warning", 20), (1.5, "error", 2), (0, "error", 0)]
)
def test_certificate(authority, port, days, outcome, left):
    context = ssl.create_default_context(cafile=str(authority.file))

    found = domain.check_certificate(LOOPBACK, port=port, context=context, now=time.time() - days * DAY)

    assert (found.outcome, found.message) == (outcome, f"127.0.0.1: good for {left} more days")
    why = "Why was it not renewed? Run certbot renew, or see the log of Caddy."
    assert found.remedy == ("" if outcome == "ok" else why)


def test_certificate_of_the_web_servers_own(authority, port):
    """Such ones live for hours."""
    context = ssl.create_default_context(cafile=str(authority.file))
    now = time.time() - 0.25 * DAY

    assert domain.check_certificate(
        LOOPBACK, port=port, context=context, now=now, is_internal=True
    ) == Finding("certificate", "ok", "127.0.0.1: good for 30 more hours, by the web server itself")


def test_certificate_that_visitors_do_not_trust(port):
    assert domain.check_certificate(LOOPBACK, port=port) == Finding(
        "certificate",
        "error",
        "127.0.0.1: unable to get local issuer certificate",
        "No browser knows who signed it: get one from a public authority (certbot, or Caddy).",
    )


def test_nothing_listens():
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

    assert domain.check_certificate(LOOPBACK, port=port) == Finding(
        "certificate",
        "error",
        f"127.0.0.1:{port} does not answer over TLS: Connection refused",
        f"Does the web server listen there, and does every firewall let port {port} through?",
    )


def test_authority_of_the_web_servers_own(port):
    found = domain.check_certificate(LOOPBACK, port=port, is_internal=True)

    assert found == Finding(
        "certificate", "not checked", "127.0.0.1: its authority is the web server's own, and not known here"
    )


# What a visitor gets


class Site(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/") or 200))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certify("site"))
    with ThreadingHTTPServer((LOOPBACK, 0), Site) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "outcome", "remedy"),
    [
        (200, "ok", ""),
        (302, "ok", ""),
        (404, "ok", ""),
        (400, "error", "Is 127.0.0.1 in ALLOWED_HOSTS?"),
        (500, "error", "503 is the maintenance page, too; else deploy_logs has the reason."),
        (
            502,
            "error",
            "The web server does not reach the site: see what it logs (/var/log/nginx/error.log).",
        ),
    ],
)
def test_answer(site, status, outcome, remedy):
    message = f"https://127.0.0.1/{status} answers with status {status}"

    assert domain.check_answer(LOOPBACK, f"/{status}", port=site) == Finding(
        "answer", outcome, message, remedy
    )


def test_no_answer():
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

    assert domain.check_answer(LOOPBACK, "/", port=port) == Finding(
        "answer",
        "error",
        "https://127.0.0.1/ does not answer: Connection refused",
        "The checks of dns and certificate say more.",
    )
    assert domain.check_answer("", "/").outcome == "not checked"


def test_a_name_that_leads_nowhere_is_one_error():
    """The check of dns says it, and what to do."""
    certificate = domain.check_certificate("shop.invalid")
    answer = domain.check_answer("shop.invalid", "/")

    assert (certificate.outcome, certificate.message) == ("not checked", "shop.invalid is not found")
    assert (answer.outcome, answer.message) == ("not checked", "shop.invalid is not found")
