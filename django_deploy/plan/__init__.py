"""What a deployment would change: computed before it changes anything, shown, compared, executed."""

from .fitness import RESERVED_BYTES, RESERVED_INODES, platform_of, tools_needed
from .making import make_plan
from .model import Change, HostPlan, Plan
from .releases import code_of, find_release, fingerprint, new_release_id

__all__ = [
    "RESERVED_BYTES",
    "RESERVED_INODES",
    "Change",
    "HostPlan",
    "Plan",
    "code_of",
    "find_release",
    "fingerprint",
    "make_plan",
    "new_release_id",
    "platform_of",
    "tools_needed",
]
