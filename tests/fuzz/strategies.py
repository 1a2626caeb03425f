"""What comes from outside, well and badly made."""

from __future__ import annotations

import copy
import json

from hypothesis import strategies as st

#: Texts that have hurt somebody: of shells, terminals, paths, numbers, encodings.
NASTY = [
    "",
    " ",
    "-",
    "--help",
    "~nobody-at-all/x",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "\r",
    "$HOME",
    "`id`",
    "$(id)",
    "%s%n",
    "%(ENV_HOME)s",
    "{socket}",
    "{0}",
    "'",
    '"',
    "\\",
    ";reboot",
    "| cat",
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "\x9b1m",
    "\u202e",
    "\ud800",
    "\udcff",
    "ü",
    "e\u0301",
    "9" * 5000,
    "1e999",
    "http://[",
    "http://a:b@c:d/",
    "http://x:99999999/",
    "[::1]:99999999999999999999999",
    "\u2028",
    "\u0660",
]
texts = (
    st.sampled_from(NASTY)
    | st.text(max_size=20)
    | st.sampled_from([5_000, 200_000]).map(lambda length: "x" * length)
)
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([400, 5000]).map(lambda digits: 10**digits)  # Python writes 4300 digits at most
    | st.sampled_from([0, -1, 1, 2**63, True, False, 1e308, float("nan"), float("inf")])
)
plain = st.none() | st.booleans() | texts | numbers
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def as_json(value):
    """Written as a host would, or as one who counts too high."""
    try:
        return json.dumps(value).encode()
    except ValueError:  # a number of more digits than Python writes
        return b"9" * 5000


#: Lines that are JSON, nearly JSON, or nothing of the kind.
lines = (
    st.binary(max_size=200)
    | values.map(as_json)
    | st.dictionaries(st.sampled_from(["event", "id", "wanted", "heartbeat", "at"]), values).map(as_json)
    | st.tuples(values.map(as_json), st.integers(0, 50)).map(lambda cut: cut[0][: cut[1]])
    | st.integers(1, 2000).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth)
)


def places(value, place=()):
    """Where something stands in a JSON value: tuples of keys and indexes."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*place, key))


@st.composite
def damaged(draw, whole, junk=values, most=3):
    """``whole``, or what that strategy makes, with something else, or nothing, at a few places."""
    found = copy.deepcopy(draw(whole) if isinstance(whole, st.SearchStrategy) else whole)
    for _ in range(draw(st.integers(0, most))):
        *path, last = draw(st.sampled_from([place for place in places(found) if place]))
        parent = found
        for key in path:
            parent = parent[key]
        change = draw(st.sampled_from(["change", "change", "remove", "add"]))
        if change == "change":
            parent[last] = draw(junk)
        elif change == "remove":
            del parent[last]
        elif isinstance(parent, dict):
            parent[draw(texts)] = draw(junk)
        if not [place for place in places(found) if place]:
            break
    return found
