import sys

import pytest
from django.core import checks
from django.db import connections
from django.test import override_settings

from django_deploy.site.preflight import preflight


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the user's that can be imported; answers its path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(name, text):
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        written.append(name)
        return path

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_a_good_site_passes_with_the_warnings_of_check_deploy():
    outcome = preflight()

    assert outcome["ok"] is True
    assert outcome["errors"] == []
    ids = [text.split()[0] for text in outcome["warnings"]]
    assert ids == sorted(ids)
    assert "(security.W008)" in ids


def test_silenced_checks_are_not_told():
    with override_settings(SILENCED_SYSTEM_CHECKS=["security.W008"]):
        outcome = preflight()

    assert not [text for text in outcome["warnings"] if "security.W008" in text]


def test_checks_at_error_and_above_are_errors():
    with override_settings(STATICFILES_DIRS="assets"):
        outcome = preflight()

    assert outcome["ok"] is False
    assert outcome["errors"] == [
        "(staticfiles.E001) The STATICFILES_DIRS setting is not a tuple or list. "
        "HINT: Perhaps you forgot a trailing comma?"
    ]


def test_nobody_could_visit_a_site_without_allowed_hosts():
    with override_settings(ALLOWED_HOSTS=[]):
        outcome = preflight()

    assert outcome["ok"] is False
    assert outcome["errors"] == ["(security.W020) ALLOWED_HOSTS must not be empty in deployment."]


def test_site_without_allowed_hosts_that_says_so():
    with override_settings(ALLOWED_HOSTS=[], SILENCED_SYSTEM_CHECKS=["security.W020"]):
        assert preflight()["ok"] is True


def test_a_debugging_site_needs_allowed_hosts_too():
    """Django then answers to localhost only, and shows everybody else its settings."""
    with override_settings(ALLOWED_HOSTS=[], DEBUG=True):
        outcome = preflight()

    assert outcome["errors"] == ["(security.W020) ALLOWED_HOSTS must not be empty in deployment."]


def test_a_site_without_a_secret_key():
    with override_settings(SECRET_KEY=""):
        outcome = preflight()

    assert outcome["errors"][0] == (
        "SECRET_KEY is empty."
        " If it comes from a variable of the target's ENV: is that set where you deploy from?"
    )


def test_steps_that_no_app_has():
    commands = ["migrate", "migrat", "nosuch", "compress"]

    outcome = preflight(commands, required=["migrate", "migrat", "nosuch", "nosuch"])

    assert outcome["errors"] == [
        "STEPS: no app of the site has a command 'migrat'. Did you mean 'migrate'?",
        "STEPS: no app of the site has a command 'nosuch'.",
    ]


def test_data_that_would_end_with_the_release(tmp_path, monkeypatch):
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", str(tmp_path))
    monkeypatch.setitem(connections["other"].settings_dict, "NAME", tmp_path / "db.sqlite3")

    with override_settings(MEDIA_ROOT=tmp_path / "media"):
        outcome = preflight()

    assert outcome["ok"] is False
    database, media, *lines = outcome["errors"]
    assert database.startswith(f'DATABASES["other"]["NAME"] is {tmp_path}/db.sqlite3, inside of the release:')
    assert media.startswith(f"MEDIA_ROOT is {tmp_path}/media, inside of the release:")
    assert '    MEDIA_ROOT = os.environ.get("MEDIA_ROOT", MEDIA_ROOT)' in lines


def test_missing_import_in_the_urlconf_names_the_line(module):
    path = module("lost_urls", "from django.urls import path\n\nimport no_such_module\n")

    with override_settings(ROOT_URLCONF="lost_urls"):
        outcome = preflight()

    assert outcome["ok"] is False
    assert outcome["errors"] == [
        "ROOT_URLCONF 'lost_urls' cannot be loaded: "
        f"ModuleNotFoundError: No module named 'no_such_module' ({path}:3)"
    ]


def test_syntax_error_names_its_line(module):
    path = module("bad_urls", "urlpatterns = [\n\n\n")

    with override_settings(ROOT_URLCONF="bad_urls"):
        [error] = preflight()["errors"]

    assert error.startswith("ROOT_URLCONF 'bad_urls' cannot be loaded: SyntaxError: '[' was never closed")
    assert error.endswith(f"({path}:1)")


def test_applications_are_loaded(module):
    wsgi = module("bad_wsgi", "import os\nos.environ['NO_SUCH_VARIABLE']\n")

    with override_settings(WSGI_APPLICATION="bad_wsgi.application", ASGI_APPLICATION="no_asgi.application"):
        outcome = preflight()

    assert outcome["errors"] == [
        f"WSGI_APPLICATION 'bad_wsgi.application' cannot be loaded: KeyError: 'NO_SUCH_VARIABLE' ({wsgi}:2)",
        "ASGI_APPLICATION 'no_asgi.application' cannot be loaded: "
        "ModuleNotFoundError: No module named 'no_asgi'",
    ]


def test_site_without_applications():
    with override_settings(WSGI_APPLICATION=None):
        assert preflight()["errors"] == []


def test_module_that_leaves_python(module):
    path = module("leaving_urls", "import sys\nsys.exit('configure me first')\n")

    with override_settings(ROOT_URLCONF="leaving_urls"):
        [error] = preflight()["errors"]

    assert error == f"ROOT_URLCONF 'leaving_urls' cannot be loaded: SystemExit: configure me first ({path}:2)"


def test_asgi_module_that_no_setting_names_is_only_a_warning(module):
    path = module("shop.asgi", "import channels_of_no_one\n")
    (path.parent / "__init__.py").touch()

    with override_settings(SETTINGS_MODULE="shop.settings"):
        outcome = preflight()

    assert outcome["ok"] is True
    warning = next(text for text in outcome["warnings"] if "shop.asgi" in text)
    assert warning == (
        "'shop.asgi.application' cannot be loaded: "
        f"ModuleNotFoundError: No module named 'channels_of_no_one' ({path}:1)"
    )


def test_check_that_crashes():
    def crash(app_configs, **kwargs):
        raise LookupError("no such thing")

    checks.register(crash)
    try:
        outcome = preflight()
    finally:
        checks.registry.registry.registered_checks.discard(crash)

    line = crash.__code__.co_firstlineno + 1
    assert outcome["errors"] == [
        f"The system checks do not run: LookupError: no such thing ({__file__}:{line})"
    ]


def test_what_checks_only_mention_is_no_warning():
    def mention(app_configs, **kwargs):
        return [checks.Info("You have no cache.", id="shop.I001")]

    checks.register(mention)
    try:
        outcome = preflight()
    finally:
        checks.registry.registry.registered_checks.discard(mention)

    assert not [text for text in outcome["warnings"] if "shop.I001" in text]


def test_our_own_checks_are_for_the_machine_that_deploys(monkeypatch):
    monkeypatch.setenv("DJANGO_DEPLOY_RELEASE_DIR", "/srv/shop/releases/20261129T120000Z-3f9c2a1")
    with override_settings(DEPLOY_TARGETS={"staging": {"HOTS": []}}):
        outcome = preflight()

    assert outcome["ok"] is True


def templates(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.html").write_text(content)
    backend = "django.template.backends.django.DjangoTemplates"
    return override_settings(TEMPLATES=[{"BACKEND": backend, "DIRS": [folder]}])


def test_templates_that_nothing_can_be_made_of(tmp_path):
    (tmp_path / "logo.svg").write_text("{% nothing of ours %}")

    with templates(tmp_path, good="{% now 'Y' %}", unknown="\n{% nwo 'Y' %}", open="{% if x %}"):
        outcome = preflight()

    assert outcome["ok"] is True
    assert outcome["templates"] == [
        "(deploy.W004) The template open.html cannot be used: Unclosed tag on line 1: 'if'."
        " Looking for one of: elif, else, endif.",
        "(deploy.W004) The template unknown.html cannot be used: Invalid block tag on line 2: 'nwo'."
        " Did you forget to register or load this tag?",
    ]


def test_templates_for_something_else_are_silenced(tmp_path):
    with templates(tmp_path, open="{% if x %}"), override_settings(SILENCED_SYSTEM_CHECKS=["deploy.W004"]):
        assert preflight()["templates"] == []


def test_databases_of_servers_are_checked_as_well(monkeypatch):
    """But no SQLite file, which would be made by it."""
    server = {**connections["other"].settings_dict, "ENGINE": "django.db.backends.postgresql"}
    asked = []

    def check(*, databases, **options):
        asked.append(list(databases))
        return [checks.Warning("It is full.", id="shop.W001")]

    monkeypatch.setitem(connections.settings, "other", server)
    checks.register(check, checks.Tags.database)
    del connections["other"]
    try:
        warnings = preflight()["warnings"]
    finally:
        checks.registry.registry.registered_checks.discard(check)
        del connections["other"]

    assert asked == [["other"]]
    assert "(shop.W001) It is full." in warnings


def test_pages_of_the_admin_are_not_missed_without_it():
    backend = "django.template.backends.django.DjangoTemplates"
    with override_settings(TEMPLATES=[{"BACKEND": backend, "APP_DIRS": True}]):
        assert preflight()["templates"] == []
