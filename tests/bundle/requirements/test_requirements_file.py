"""Requirements files in pip's format: every kind of line, and the mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_deploy.bundle.requirements.requirements_file import Entry, Option, read_requirements_file
from django_deploy.exceptions import BundleError

A, B = "a" * 64, "b" * 64


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "requirements.txt") -> Path:
        file = tmp_path / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


def entries(file: Path) -> list[Entry]:
    return read_requirements_file(file).entries


def failure(file: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_requirements_file(file)
    return caught.value.message


def test_pins_with_extras_markers_and_hashes(write):
    file = write(
        "# made by hand\n\n"
        "Django==5.2.1  # the framework\n"
        f"celery[redis,Auth] == 5.6.1 ; python_version > '3.8' \\\n    --hash=sha256:{B.upper()} \\\n"
        f"    --hash=sha256:{A}\n"
        "zope.interface===7\n"
    )

    assert entries(file) == [
        Entry("requirements.txt, line 3", "django", specifier="==5.2.1"),
        Entry(
            "requirements.txt, line 4",
            "celery",
            ("Auth", "redis"),
            "==5.6.1",
            marker='python_version > "3.8"',
            hashes=(A, B),
        ),
        Entry("requirements.txt, line 7", "zope-interface", specifier="===7"),
    ]
    assert [entry.version for entry in entries(file)] == ["5.2.1", "5.6.1", "7"]


@pytest.mark.parametrize("line", ["django", "django>=5", "django==5.*", "django==5,<6", "django~=5.2"])
def test_open_versions_are_none(write, line):
    (entry,) = entries(write(line))

    assert (entry.name, entry.version) == ("django", "")


def test_a_comment_between_continued_lines_ends_them_as_for_pip(write):
    file = write("a==1 \\\n# and\nb==2\n")

    assert [str(entry) for entry in entries(file)] == ["a==1", "b==2"]


def test_includes_and_constraints_are_relative_to_the_file(write):
    write("b==2\n-r ../more.txt\n", "parts/base.txt")
    write("c==3\n", "more.txt")
    write("d==4\n", "with space.txt")
    write("a<3\n-r more.txt\n", "limits.txt")
    file = write("a==1\n-r parts/base.txt\n--requirement=more.txt\n-c limits.txt\n-r 'with space.txt'\n")

    found = read_requirements_file(file)

    assert [(entry.place, str(entry)) for entry in found.entries] == [
        ("requirements.txt, line 1", "a==1"),
        ("parts/base.txt, line 1", "b==2"),
        ("more.txt, line 1", "c==3"),
        ("with space.txt, line 1", "d==4"),
    ]
    assert [(entry.place, str(entry)) for entry in found.constraints] == [
        ("limits.txt, line 1", "a<3"),
        ("more.txt, line 1", "c==3"),
    ]


def test_files_that_include_each_other_end(write):
    write("-r requirements.txt\nb==2\n", "other.txt")

    assert [entry.name for entry in entries(write("a==1\n-rother.txt\n"))] == ["a", "b"]


def test_variables_are_replaced(write, monkeypatch):
    monkeypatch.setenv("TOKEN", "xyzzy")

    (entry,) = entries(write("acme @ https://me:${TOKEN}@example.com/acme.zip?x=${UNSET}\n"))

    assert entry.reference == "https://me:xyzzy@example.com/acme.zip?x=${UNSET}"
    assert str(entry) == "acme @ https://example.com/acme.zip?x=${UNSET}"


@pytest.mark.parametrize(
    ("line", "name", "reference"),
    [
        ("acme @ git+https://host/acme.git@v1", "acme", "git+https://host/acme.git@v1"),
        ("git+ssh://git@host/a.git@v1#egg=Acme.X[y]", "acme-x", "git+ssh://git@host/a.git@v1"),
        ("hg+https://host/a#subdirectory=b&egg=x", "x", "hg+https://host/a#subdirectory=b"),
        ("https://host/acme_x-1.0-py3-none-any.whl", "acme-x", "https://host/acme_x-1.0-py3-none-any.whl"),
        ("https://host/archive.zip", "", "https://host/archive.zip"),
        ("file:///tmp/acme-x-1.0.tar.gz", "acme-x", "file:///tmp/acme-x-1.0.tar.gz"),
        ("/opt/acme", "", "/opt/acme"),
        ("/opt/x/../acme_y-2-py3-none-any.whl", "acme-y", "/opt/acme_y-2-py3-none-any.whl"),
    ],
)
def test_direct_references(write, line, name, reference):
    (plain,) = entries(write(line))
    (marked,) = entries(write(f"{line} ; python_version < '3'"))

    assert (plain.name, plain.reference, plain.marker, plain.applies_here) == (name, reference, "", True)
    assert (marked.name, marked.reference) == (name, reference)
    assert (marked.marker, marked.applies_here) == ('python_version < "3"', False)


def test_editables_with_extras(write):
    first, second = entries(write("-e .[dev, prod]\n--editable git+https://host/a@v1#egg=a\n"))

    assert (first.is_editable, first.path, first.extras) == (True, Path.cwd(), ("dev", "prod"))
    assert (second.is_editable, second.name, second.path) == (True, "a", None)


def test_paths_start_in_the_current_folder_else_beside_the_file(write, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "site" / "beside").mkdir(parents=True)

    found = entries(write("./here\n./beside\n-e beside\nacme @ ./beside\n"))

    beside = tmp_path / "site" / "beside"
    assert [entry.path for entry in found] == [tmp_path / "here", beside, beside, beside]


def test_options_are_kept(write, tmp_path):
    (tmp_path / "site" / "wheels").mkdir(parents=True)

    found = read_requirements_file(write("--pre\n-i https://host/simple\n-f wheels\n--no-binary=:all:\n"))

    assert found.options == [
        Option("requirements.txt, line 1", "--pre"),
        Option("requirements.txt, line 2", "-i", "https://host/simple"),
        Option("requirements.txt, line 3", "-f", str(tmp_path / "site" / "wheels")),
        Option("requirements.txt, line 4", "--no-binary", ":all:"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\ndjango=5\n", "requirements.txt, line 2: 'django=5' is not a requirement."),
        (
            "./x ; python < '3'",
            "requirements.txt, line 1: \"python < '3'\" is not an environment marker.",
        ),
        ("a==1 --hash=sha512:00", "requirements.txt, line 1 has no sha256, only sha512."),
        ("a==1 --hash=sha256:00", "requirements.txt, line 1: '00' is not a sha256."),
        ("-r https://host/a.txt", "requirements.txt, line 1: https://host/a.txt is not on this machine."),
        ("-r a\0b", "requirements.txt, line 1: 'a\\x00b' is not the name of a file."),
        (
            "https://[/a.zip",
            "requirements.txt, line 1: 'https://[/a.zip' is not an address: Invalid IPv6 URL.",
        ),
        ("a @ https://[/a", "requirements.txt, line 1: 'https://[/a' is not an address: Invalid IPv6 URL."),
        ("'./a", 'requirements.txt, line 1: "\'./a" is not a path: No closing quotation.'),
        ("./a\0b", "requirements.txt, line 1: './a\\x00b' is not a requirement."),
        (
            "~nobody-at-all/a",
            "requirements.txt, line 1: '~nobody-at-all/a' is not a path: Could not determine home directory.",
        ),
        ("a; " + "(" * 3000, "requirements.txt, line 1: 'a' is not a requirement."),
    ],
)
def test_mistakes_are_told_with_their_line(write, text, message):
    assert failure(write(text)) == message


def test_missing_include_is_told(write, tmp_path):
    file = write("-r gone.txt\n")

    place = tmp_path / "site" / "gone.txt"
    assert failure(file) == f"requirements.txt, line 1: {place} cannot be read: No such file or directory."


def test_file_that_is_no_text(write):
    file = write("")
    file.write_bytes(b"\xff\xfea\0")

    assert failure(file) == f"{file} is not a text file in UTF-8."


def test_byte_order_mark_and_windows_line_ends(write):
    file = write("")
    file.write_bytes(b"\xef\xbb\xbfa==1\r\nb==2 \\\r\n  --hash=sha256:" + A.encode() + b"\r\n")

    assert [(entry.name, entry.version) for entry in entries(file)] == [("a", "1"), ("b", "2")]
    assert entries(file)[1].hashes == (A,)


def test_pip_reads_the_same(write):
    from pip._internal.network.session import PipSession
    from pip._internal.req import parse_requirements
    from pip._internal.req.constructors import install_req_from_parsed_requirement

    write("inner==1 # x\n", "inner.txt")
    file = write(
        "a==1;python_version>'3'\n b [x] >=2 , <3\n-r inner.txt\nhttps://h/c-1.zip#egg=c\n"
        f"d==1 \\\n --hash=sha256:{A}\ne @ git+https://h/e@v#egg=e\n# end\\\nf==2 ; os_name == 'nt'\n"
        "-e git+https://h/g@v#egg=g\n\\\nh~=1.0\n"
    )

    ours = [(item.name, item.specifier, set(item.extras), item.marker, item.hashes) for item in entries(file)]

    parsed = parse_requirements(str(file), session=PipSession())
    theirs = [
        (
            item.name,
            str(item.specifier) if item.specifier else "",
            item.extras,
            str(item.markers or ""),
            tuple(item.hash_options.get("sha256", ())),
        )
        for item in map(install_req_from_parsed_requirement, parsed)
    ]
    assert ours == theirs
    assert [name for name, *_ in ours] == ["a", "b", "inner", *"cdefgh"]
