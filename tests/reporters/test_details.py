"""What people read below the lines of events."""

from __future__ import annotations

import io

from django_deploy.host.protocol import Event
from django_deploy.reporters.plain import LineReporter
from django_deploy.reporters.secrets import Secrets

DROP = {
    "words": "Remove field isbn from book",
    "category": "contract",
    "reversible": False,
    "does": ["drops shop_book.isbn"],
    "tables": ["shop_book"],
    "hint": "shop_book has about 2.3 million rows: they are rewritten",
    "unsafe": ["drops shop_book.isbn; the live release uses it: shop.Book.isbn"],
}
ADD = {"words": "Change Meta options on book", "category": "expand", "reversible": True, "does": []}


def lines(**fields):
    out = io.StringIO()
    with LineReporter(out, Secrets()) as reporter:
        reporter(
            Event("migrations.planned", "web1", fields={"database": "default", "place": "db1", **fields})
        )
    return out.getvalue().splitlines()


def test_each_operation_is_told():
    migrations = [{"name": "shop.0008_no_isbn", "when": "after confirm", "operations": [ADD, DROP]}]

    assert lines(is_live=True, migrations=migrations) == [
        "web1: 1 migration of db1",
        "  shop.0008_no_isbn, after confirm",
        "    + Change Meta options on book: leaves the database as it is",
        "    - Remove field isbn from book: drops shop_book.isbn; cannot be reversed",
        "      shop_book has about 2.3 million rows: they are rewritten",
        "      unsafe now: drops shop_book.isbn; the live release uses it: shop.Book.isbn",
    ]


def test_a_first_deployment_tells_only_how_many():
    migrations = [
        {"name": f"shop.{n:04}", "when": "before the switch", "operations": [ADD]} for n in range(90)
    ]

    assert lines(is_live=False, migrations=migrations) == ["web1: 90 migrations of db1"]


def test_what_a_host_leaves_out():
    assert lines(is_live=True, migrations=[{"operations": [{}]}]) == [
        "web1: 1 migration of db1",
        "  None, None",
        "    ? None: leaves the database as it is; cannot be reversed",
    ]


def changes(hosts, **fields):
    out = io.StringIO()
    environment = {"added": [], "changed": [], "removed": []}
    with LineReporter(out, Secrets()) as reporter:
        fields = {"hosts": hosts, "environment": environment, "settings": [], "static": None, **fields}
        reporter(Event("changes.found", fields=fields))
    return out.getvalue().splitlines()


def test_what_else_changes():
    files = {"count": 7, "names": [f"{n}.css" for n in range(7)]}
    nothing = {"count": 0, "names": []}

    assert changes(
        ["web1", "web2"],
        environment={"added": ["NEW"], "changed": ["OTHER"], "removed": ["OLD"]},
        settings=[{"name": "DEBUG", "change": "False -> True"}],
        static={"added": files, "changed": nothing, "removed": nothing},
    ) == [
        "what else changes on web1, web2:",
        "  environment: + NEW, ~ OTHER, - OLD",
        "  setting DEBUG: False -> True",
        "  static files added: 0.css, 1.css, 2.css, 3.css, 4.css and 2 more",
    ]
    assert changes([f"web{n}" for n in range(10)], settings=None) == [
        "what else changes on web0, web1, web2, web3, web4, web5, web6, web7 and 2 more:",
        "  settings: not known, the live release cannot say",
    ]


def test_nothing_else_changes():
    assert changes(["web1"]) == [
        "what else changes on web1:",
        "  nothing: variables, settings and static files stay",
    ]
