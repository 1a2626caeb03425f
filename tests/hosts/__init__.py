"""Deployments to real Debian hosts, and the rig that runs those on one Linux machine."""
