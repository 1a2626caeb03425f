"""What a release must say of itself, and no more."""

from __future__ import annotations

RECORD = {
    "settings_module": "shop.settings",
    "processes": [],
    "manager": "systemd",
    "restart": [],
    "health": None,
}
