from __future__ import annotations

import pytest

from django_deploy.host.inventory import digest_of, digest_of_record, tags_of, tags_of_wheel

#: As uv writes it.
RECORD = """\
../../../app/manage.py,sha256=appapp,22
shop/INSTALLER,sha256=mine,5
shop/__init__.py,sha256=init,4
"shop/a,""b"".txt",sha256=comma,6
shop/größe.txt,sha256=utf8,5
shop-1.0.dist-info/entry_points.txt,sha256=entry,44
"""


@pytest.mark.parametrize(
    "row",
    [
        "../../../bin/shop,sha256=script,293",
        "../../../include/site/python3.11/shop/shop.h,sha256=header,10",
        "../../../lib/shop/plugin.so,sha256=data,10",
        "../../../../outside.txt,sha256=data,10",
        "../../lib-dynload/x.so,sha256=data,10",
        "../x.py,sha256=data,10",
        "/etc/shop.conf,sha256=data,10",
        "__pycache__/shop.cpython-311.pyc,,",
        "shop/__pycache__/__init__.cpython-311.pyc,sha256=compiled,100",
        '"../../../app/__pycache__/a,b.cpython-311.pyc",,',
        "shop/unlisted.py,,4",
        "shop/unlisted.py,,",
        "shop-1.0.dist-info/INSTALLER,sha256=uv,2",
        "shop-1.0.dist-info/METADATA,sha256=text,54",
        "shop-1.0.dist-info/RECORD,,",
        "shop-1.0.dist-info/REQUESTED,sha256=empty,0",
        "shop-1.0.dist-info/WHEEL,sha256=generator,73",
        "shop-1.0.dist-info/direct_url.json,sha256=place,82",
        "shop-1.0.dist-info/licenses/LICENSE,sha256=free,5",
        "shop-1.0.dist-info/uv_cache.json,sha256=time,125",
        "",
    ],
)
def test_what_installers_add_makes_no_difference(row):
    assert digest_of_record(RECORD + row + "\n") == digest_of_record(RECORD)


@pytest.mark.parametrize(
    "change",
    [
        ("sha256=init", "sha256=other"),
        ("shop/__init__.py", "shop/__main__.py"),
        ("sha256=entry", "sha256=other"),
        ("sha256=appapp", "sha256=other"),
        ("sha256=comma", "sha256=other"),
        ("shop/INSTALLER,sha256=mine,5\n", ""),
        ("sha256=init,4\n", "sha256=init,4\nshop/more.py,sha256=more,1\n"),
    ],
    ids=lambda change: change[1],
)
def test_another_file_makes_a_difference(change):
    assert digest_of_record(RECORD.replace(*change)) != digest_of_record(RECORD)


def test_how_it_is_written_makes_no_difference():
    """pip ends rows as RFC 4180 says, back ends sort them in many ways, and some quote all."""
    lines = RECORD.splitlines()
    quoted = ('"{}","{}",{}'.format(*line.rsplit(",", 2)) for line in lines if not line.startswith('"'))

    for other in (
        "\r\n".join(lines),
        "\n".join(reversed(lines)),
        "\n".join([*quoted, *(line for line in lines if line.startswith('"'))]),
        RECORD.replace("sha256=init,4", "sha256=init=,4"),
        RECORD.replace("sha256=init,4", "sha256=init,"),
        RECORD.replace("shop-1.0.dist-info", "Shop-1.0.dist-info"),
    ):
        assert digest_of_record(other) == digest_of_record(RECORD)


def test_a_vendored_distribution_is_code():
    vendored = "shop/_vendor/six-1.0.dist-info/METADATA,sha256={},5\n"

    assert digest_of_record(vendored.format("a")) != digest_of_record(vendored.format("b"))


def test_tags_are_in_order():
    text = "Wheel-Version: 1.0\nGenerator: x\nTag: py3-none-any\r\nTag: py2-none-any\n\n"

    assert tags_of_wheel(text) == "py2-none-any py3-none-any"


def test_what_is_not_there_is_empty(tmp_path):
    assert (tags_of(tmp_path), digest_of(tmp_path)) == ("", "")


def test_bytes_that_are_no_text_are_kept_apart(tmp_path):
    (tmp_path / "RECORD").write_bytes(b"shop/\xff.py,sha256=a,1\n")
    one = digest_of(tmp_path)
    (tmp_path / "RECORD").write_bytes(b"shop/\xfe.py,sha256=a,1\n")

    assert digest_of(tmp_path) != one
