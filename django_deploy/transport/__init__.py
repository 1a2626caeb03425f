"""How this machine talks to a host. The only home of ``paramiko``."""
