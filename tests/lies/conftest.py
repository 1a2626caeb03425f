"""Servers and homes as the transport's own tests have them."""

from tests.transport.conftest import home, servers, ssh_server

__all__ = ["home", "servers", "ssh_server"]
