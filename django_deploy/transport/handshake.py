"""From a wire to a connection that is logged in."""

from __future__ import annotations

from django_deploy.exceptions import ConnectionFailed, HostUnreachable
from django_deploy.transport import host_keys
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.authentication import Transport, authenticate
from django_deploy.transport.key_files import PublicKey, public_key
from django_deploy.transport.login import Login
from django_deploy.transport.printable import printable
from django_deploy.transport.wire import Wire

#: AES-GCM first: it needs half the time of the CTR modes with their separate checksum.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
DIGESTS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)


def log_in(login: Login, wire: Wire) -> Transport:
    """Agree on keys, verify the host, prove who we are. On failure the wire is closed.

    Raises ``HostUnreachable``, another ``ConnectionFailed``, ``HostKeyError`` or ``AuthenticationFailed``.
    """
    transport = Transport(wire)  # type: ignore[arg-type]
    try:
        entries = host_keys.find_known(login)
        options = transport.get_security_options()
        options.ciphers, options.digests = CIPHERS, DIGESTS
        options.key_types = host_keys.prefer_known(options.key_types, entries)
        transport.prefers_certificates = host_keys.has_authority(entries)
        host_keys.verify(login, _public_key(_negotiate(login, transport, wire)), entries)
        authenticate(login, transport, wire.address)
    except BaseException:
        wire.close()
        transport.close()
        raise
    return transport


def _negotiate(login: Login, transport: Transport, wire: Wire) -> paramiko.PKey:
    """Up to the encrypted connection; gives the host's key."""
    transport.banner_timeout = transport.handshake_timeout = login.timeout
    transport.auth_timeout = transport.channel_timeout = login.timeout
    try:
        transport.start_client(timeout=login.timeout)
        return transport.get_remote_server_key()  # start_client returns after its timeout, too
    except (paramiko.SSHException, EOFError, OSError) as error:
        wire.close()
        raise _explain(error, login, transport, wire) from error


def _public_key(host_key: paramiko.PKey) -> PublicKey:
    """The key or the certificate that the host has shown."""
    return public_key(host_key.public_blob.key_blob if host_key.public_blob else host_key.asbytes())


def _explain(error: Exception, login: Login, transport: Transport, wire: Wire) -> ConnectionFailed:
    is_ssh = wire.greeting.startswith(b"SSH-")
    said = wire.complaint or (transport.last_words if is_ssh else printable(wire.greeting))
    quoted = f"; it said: {said}" if said else ""
    remedy = f"Try: {login.command('-v')}"
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        message = f"{wire.address} offers no algorithm that we know: {printable(str(error))}"
    elif wire.complaint:
        message, remedy = (
            f"the way to {wire.address} failed{quoted}",
            "Check ProxyCommand in your ssh_config.",
        )
    elif wire.is_ended:
        message = f"{wire.address} closed the connection during the handshake{quoted}"
        remedy = "It may have too many logins at once (MaxStartups) or refuse this address for a while."
        return HostUnreachable(login.host.name, message, remedy=remedy)
    elif wire.greeting and not is_ssh:
        message, remedy = f"what answers at {wire.address} is not an SSH server{quoted}", "Check the port."
    else:
        message = f"{wire.address} was reached, but did not finish the handshake within {login.timeout:g} s"
        return HostUnreachable(login.host.name, message, remedy=remedy)
    return ConnectionFailed(login.host.name, message, remedy=remedy)
