"""What visitors meet first: the name of the site, and its certificate."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django_deploy.doctor.finding import Finding, error, not_checked, ok, warning

#: Days before a certificate ends when somebody should look why it was not renewed, and when it is late.
RENEWED_BEFORE, LATE_BEFORE = 21, 3

#: Seconds for the connection, and again for the handshake.
TLS_TIMEOUT = 10.0

HTTPS = 443

#: What OpenSSL says of certificates whose authority is not known here (X509_V_ERR_…).
UNKNOWN_AUTHORITY = (18, 19, 20, 21)

NO_DOMAIN = "the target names no DOMAIN (--domain gives one)"


def check_name(domain: str, addresses: Collection[str]) -> Finding:
    """Whether DNS leads to one of the hosts, which have these addresses."""
    if not domain:
        return not_checked("dns", NO_DOMAIN)
    try:
        found = resolve(domain)
    except OSError as failure:
        reason = failure.strerror or str(failure)
        remedy = f"Make an A or AAAA record of {domain} where its zone is kept."
        return error("dns", f"{domain} is not found: {reason}", remedy)
    text = ", ".join(found)
    if addresses and not set(found) & set(addresses):
        message = f"{domain} leads to {text}, and to none of the hosts ({', '.join(sorted(addresses))})"
        return warning(
            "dns", message, "Right behind a load balancer or a CDN; else fix its A and AAAA records."
        )
    return ok("dns", f"{domain} leads to {text}")


def resolve(name: str) -> list[str]:
    """The addresses of a name, each once; raises ``OSError``."""
    try:
        found = socket.getaddrinfo(name, HTTPS, type=socket.SOCK_STREAM)
    except UnicodeError as failure:
        raise OSError(f"not a name: {failure}") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def check_certificate(
    domain: str,
    *,
    is_internal: bool = False,
    port: int = HTTPS,
    context: ssl.SSLContext | None = None,
    now: float | None = None,
) -> Finding:
    """As a visitor's browser judges it, by the authorities that this machine trusts.

    ``is_internal``: it is by an authority of the web server's own, which this machine need not know.
    """
    if not domain:
        return not_checked("certificate", NO_DOMAIN)
    context = context or ssl.create_default_context()
    try:
        with _connect(domain, port, context) as connection:
            ends = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as failure:
        if is_internal and failure.verify_code in UNKNOWN_AUTHORITY:
            why = f"{domain}: its authority is the web server's own, and not known here"
            return not_checked("certificate", why)
        remedy = "Visitors are warned off. Renew it: certbot renew; of Caddy, read journalctl -u caddy."
        if failure.verify_code in UNKNOWN_AUTHORITY:
            remedy = "No browser knows who signed it: get one from a public authority (certbot, or Caddy)."
        return error("certificate", f"{domain}: {failure.verify_message}", remedy)
    except socket.gaierror:
        return not_checked("certificate", f"{domain} is not found")
    except (OSError, UnicodeError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        remedy = f"Does the web server listen there, and does every firewall let port {port} through?"
        return error("certificate", f"{domain}:{port} does not answer over TLS: {reason}", remedy)
    left = ends - (time.time() if now is None else now)
    if is_internal:  # such ones live for hours, and are made anew in time
        return ok("certificate", f"{domain}: good for {left / 3600:.0f} more hours, by the web server itself")
    return _judge_days(domain, int(left // 86400))


def _judge_days(domain: str, days: int) -> Finding:
    message = f"{domain}: good for {days} more days"
    if days >= RENEWED_BEFORE:
        return ok("certificate", message)
    make = error if days < LATE_BEFORE else warning
    return make("certificate", message, "Why was it not renewed? Run certbot renew, or see the log of Caddy.")


@contextmanager
def _connect(domain: str, port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((domain, port), timeout=TLS_TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=domain) as connection,
    ):
        yield connection


def check_answer(domain: str, path: str, *, port: int = HTTPS) -> Finding:
    """What a visitor gets, whatever the certificate is: that is another check's affair."""
    if not domain:
        return not_checked("answer", NO_DOMAIN)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(domain, port, timeout=TLS_TIMEOUT, context=context)
    address = f"https://{domain}{path}"
    try:
        connection.request("GET", path, headers={"User-Agent": "django-deploy"})
        status = connection.getresponse().status
    except socket.gaierror:
        return not_checked("answer", f"{domain} is not found")
    except (OSError, UnicodeError, http.client.HTTPException) as failure:
        reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
        return error(
            "answer", f"{address} does not answer: {reason}", "The checks of dns and certificate say more."
        )
    finally:
        connection.close()
    if status in (502, 504):
        remedy = "The web server does not reach the site: see what it logs (/var/log/nginx/error.log)."
        return error("answer", f"{address} answers with status {status}", remedy)
    if status == 400:
        return error("answer", f"{address} answers with status 400", f"Is {domain} in ALLOWED_HOSTS?")
    if status >= 500:
        remedy = "503 is the maintenance page, too; else deploy_logs has the reason."
        return error("answer", f"{address} answers with status {status}", remedy)
    return ok("answer", f"{address} answers with status {status}")
