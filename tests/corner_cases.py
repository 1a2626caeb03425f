"""The corner cases of packaging, and the tests that show each; how many did is told after a run.

A case is shown when all of its tests passed. What a case names is ``file::function`` below ``tests/``, or
``file::function[word]`` for those parameters that hold the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

INSTALLATIONS = "bundle/test_installations.py"
ENVIRONMENT = "bundle/test_environment.py"
SELECTION = "bundle/test_selection.py"
WHEELS = "bundle/wheels/test_builder.py"
CHECKED = "bundle/wheels/test_requirements_check.py"
ASSEMBLY = "bundle/test_assembly.py"
MAKING = "plan/test_making.py"
FITTING = "bundle/test_fitting.py"
LOCK = "bundle/index/test_lock.py"
PLATFORMS = "bundle/test_platforms.py"
COMPILED = "bundle/wheels/test_compiled.py"
INSTALLER = "host/test_installer.py"
CONTENTS = "bundle/plain/test_contents.py"
PLAIN_WHEELS = "bundle/plain/test_wheel.py"
PLAIN_PROJECT = "test_plain_project.py"

#: What is installed, by which tool, and how it is recorded.
DETECTION = {
    "editable, setuptools, flat layout, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-site]",
    "editable, setuptools, src layout, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-src]",
    "editable, hatchling, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-hatch]",
    "editable, flit, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-flit]",
    "editable, poetry, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-poetry]",
    "editable, pdm, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-pdm]",
    "editable, uv, by pip and uv": f"{INSTALLATIONS}::test_origin[acme-uv]",
    "editable, legacy egg-link": f"{INSTALLATIONS}::test_origin[acme-legacy] {ENVIRONMENT}::test_egg_link",
    "egg-link that leads nowhere": f"{ENVIRONMENT}::test_broken_egg_link_is_a_warning",
    "egg of setup.py install": (
        f"{INSTALLATIONS}::test_origin[acme-egg] "
        f"{ENVIRONMENT}::test_egg {ENVIRONMENT}::test_egg_in_a_zip_file"
    ),
    "editable repository (-e git+)": f"{INSTALLATIONS}::test_origin[pip-acme-cloned]",
    "editable with extras": f"{ASSEMBLY}::test_closure_is_what_the_project_requires",
    "folder": f"{INSTALLATIONS}::test_origin[acme-local]",
    "repository": f"{INSTALLATIONS}::test_origin[acme-vcs] {ASSEMBLY}::test_vcs_installation_has_its_commit",
    "repository, subdirectory": f"{INSTALLATIONS}::test_origin[acme-below]",
    "wheel file": f"{INSTALLATIONS}::test_origin[acme-wheel] {WHEELS}::test_wheel_file_is_shipped_as_it_is",
    "sdist file": f"{INSTALLATIONS}::test_origin[acme-sdist] {WHEELS}::test_sdist_is_built",
    "address of an archive": f"{INSTALLATIONS}::test_origin[acme-url] {WHEELS}::test_address_of_a_wheel",
    "uv's archive_info without a hash": (
        f"{INSTALLATIONS}::test_origin[uv-acme-wheel] {ENVIRONMENT}::test_direct_installation"
    ),
    "find-links, which no record tells": (
        f"{INSTALLATIONS}::test_origin[acme-found] {INSTALLATIONS}::test_archive_of_a_folder_is_sent "
        f"{LOCK}::test_what_only_a_local_folder_has_is_an_archive"
    ),
    "metadata in the current folder": (
        f"{INSTALLATIONS}::test_metadata_in_the_current_folder_hide_nothing "
        f"{ASSEMBLY}::test_neither_the_folder_nor_pythonpath_can_hide_a_record"
    ),
    "PYTHONPATH is set": f"{INSTALLATIONS}::test_metadata_on_pythonpath_hide_nothing",
    "virtualenv of uv without pip": f"{INSTALLATIONS}::test_environment_without_pip",
    "virtualenv with the system's packages": (
        f"{INSTALLATIONS}::test_packages_of_the_system_count_where_the_virtualenv_has_them"
    ),
    "two kinds of metadata that say the same (apt)": (
        f"{ENVIRONMENT}::test_two_kinds_of_metadata_that_say_the_same"
    ),
    "packages of the user": (
        f"{INSTALLATIONS}::test_virtualenv_hides_the_users_packages_that_hide_the_systems"
    ),
    "metadata twice": (
        f"{INSTALLATIONS}::test_same_distribution_twice {INSTALLATIONS}::test_egg_link_beside_an_installation"
    ),
    "leftovers (~) and metadata without a name": f"{ENVIRONMENT}::test_debris_is_a_warning",
    "code that only a .pth file knows": (
        f"{ENVIRONMENT}::test_code_that_no_distribution_owns_is_a_warning "
        f"{ENVIRONMENT}::test_pth_file_that_runs_code_is_a_warning"
    ),
    "names like A.B_c": f"{INSTALLATIONS}::test_origin[acme-dotted-name]",
    "local version label": (
        f"{INSTALLATIONS}::test_origin[acme-label] {LOCK}::test_local_version_is_another_version"
    ),
    "pre-release": f"{INSTALLATIONS}::test_origin[acme-early] {LOCK}::test_yanked_and_pre_releases_are_found",
    "yanked": f"{INSTALLATIONS}::test_origin[acme-yanked] {LOCK}::test_yanked_and_pre_releases_are_found",
}

#: What of it is deployed.
CHOICE = {
    "development tools stay here": f"{SELECTION}::test_excluded_leave_with_what_only_they_need",
    "development tool that is needed": f"{SELECTION}::test_excluded_but_required_stays_and_is_told",
    "cycles": (
        f"{SELECTION}::test_cycle_that_nothing_requires_is_kept {SELECTION}::test_half_excluded_cycle_is_kept"
    ),
    "extras that refer to themselves": f"{SELECTION}::test_extras_may_refer_to_themselves",
    "extras that no record tells (requests[socks])": (
        f"{SELECTION}::test_undeclared_extras_are_kept_with_the_environment_only"
    ),
    "tool that a kept distribution requires": f"{SELECTION}::test_tools_stay_here_unless_required",
    "markers by patch level": f"{FITTING}::test_older_python_on_a_host_may_need_more",
    "markers by platform": f"{SELECTION}::test_markers_of_a_host_are_those_that_packaging_knows",
    "host with another minor version of Python": f"{FITTING}::test_younger_python_on_a_host_may_need_less",
    "host with a Python that is too old": f"{MAKING}::test_a_host_whose_python_is_too_old_is_refused",
    "host with free-threaded Python": f"{PLATFORMS}::test_tags_of_free_threaded_python",
    "host with musl": f"{PLATFORMS}::test_tags_of_musl",
    "stale metadata of an editable: new requirement": (
        f"{ASSEMBLY}::test_requirement_that_is_not_installed_is_refused "
        f"{CHECKED}::test_extras_that_are_asked_for_count"
    ),
    "stale metadata of an editable: new version": f"{WHEELS}::test_new_version_of_the_sources",
}

#: What is built, and what of it arrives.
BUILDS = {
    "stale build/": f"{WHEELS}::test_module_that_was_deleted_is_not_in_the_wheel",
    "missing templates": f"{ASSEMBLY}::test_lost_templates_are_told",
    "assets that git ignores": f"{WHEELS}::test_assets_that_git_ignores_and_hatchling_too_are_told",
    "templates that only git knows": "bundle/wheels/test_known_files.py::test_they_are_in_the_wheel",
    ".env in a package": f"{WHEELS}::test_secret_in_a_package_is_refused",
    "same version, new content": (
        f"{ASSEMBLY}::test_new_content_of_the_same_version_is_another_wheel "
        "test_local_deployment.py::test_a_changed_line_is_a_new_release"
    ),
    "requirement that was removed vanishes": "hosts/test_deploy.py::test_dependencies_that_changed",
    "compiled wheel for another platform": f"{MAKING}::test_a_wheel_for_another_machine_is_refused",
    "compiled wheel for a newer glibc": (
        f"{COMPILED}::test_glibc_that_the_symbols_of_a_module_need "
        f"{MAKING}::test_a_wheel_for_a_newer_glibc_is_refused"
    ),
    "compiled wheel, built on the host": (
        f"{COMPILED}::test_sdist_goes_to_a_host_that_cannot_run_the_wheel "
        "test_build_on_host.py::test_it_is_built_there_once"
    ),
    "distribution that has only an sdist": (
        "bundle/test_vendor.py::test_wheel_is_built_of_what_has_only_an_sdist"
    ),
    "folder with the name of what is built": f"{WHEELS}::test_folder_with_the_name_of_what_is_built",
    "hashes for all platforms": f"{LOCK}::test_hashes_of_all_files_of_the_version",
    "repository under --require-hashes": f"{INSTALLATIONS}::test_bundle_installs_with_hashes",
    "other files under the same name and version (RECORD)": (
        "bundle/test_inventory.py::test_a_lookalike_from_a_folder_has_another_digest "
        "host/test_virtualenv.py::test_other_files_of_the_same_name_and_version_are_named "
        "test_local_deployment.py::test_a_lookalike_from_a_folder_is_not_deployed"
    ),
    "reproducible bytes": (
        f"{INSTALLATIONS}::test_same_sources_give_the_same_bytes "
        f"{INSTALLATIONS}::test_same_environment_gives_the_same_pins"
    ),
    "reproducible bytes of compiled code": f"{WHEELS}::test_compiled_code_has_the_same_bytes",
    "index out of reach, hashes in the cache": (
        f"{ASSEMBLY}::test_unchanged_environment_builds_and_asks_nothing"
    ),
}

#: On the host.
HOSTS = {
    "host without uv, pip, ensurepip and network": (
        "hosts/test_air_gap.py::test_life_of_a_site_on_an_island[uv] "
        "hosts/test_air_gap.py::test_life_of_a_site_on_an_island[pip]"
    ),
    "uv that is sent": f"{INSTALLER}::test_program_of_a_tools_wheel_runs",
    "cache on another file system": f"{INSTALLER}::test_cache_is_on_the_file_system_of_the_releases",
    "virtualenv that is moved": f"{INSTALLER}::test_scripts_are_of_their_release",
    "old process that imports after the switch, both ways to start": (
        f"{INSTALLER}::test_old_process_imports_from_its_own_release"
    ),
    "credentials in files, logs and errors": (
        "bundle/test_secrets.py::test_hashes_and_wheels bundle/test_secrets.py::test_errors "
        "bundle/test_secrets.py::test_tools_that_find_hashes hosts/test_hostile.py::test_secrets_stay_secret"
    ),
}

#: Projects that nobody has made a package of.
PLAIN = {
    "plain project: BASE_DIR": (
        f"{PLAIN_WHEELS}::test_an_installed_project_keeps_its_shape "
        f"{PLAIN_PROJECT}::test_the_site_runs_as_it_does_here"
    ),
    "plain project: assets that git ignores": f"{PLAIN_PROJECT}::test_what_is_carried_and_what_stays_here",
    "plain project: SQLite, MEDIA_ROOT, STATIC_ROOT, logs inside of the release": (
        f"{PLAIN_PROJECT}::test_settings_that_would_write_into_the_release"
    ),
    "plain project: app with the name of an installed module": (
        f"{PLAIN_WHEELS}::test_module_that_an_installed_distribution_has_too "
        f"{PLAIN_PROJECT}::test_an_app_with_the_name_of_an_installed_module"
    ),
    "plain project: links": (
        f"{CONTENTS}::test_links_are_followed {CONTENTS}::test_links_that_lead_nowhere_or_round_are_told "
        f"{CONTENTS}::test_link_to_a_folder_around_the_project {CONTENTS}::test_link_that_brings_too_much"
    ),
    "plain project: executable manage.py": f"{PLAIN_WHEELS}::test_an_installed_project_keeps_its_shape",
    "plain project: names that are not UTF-8": f"{CONTENTS}::test_names_that_no_wheel_can_hold",
    "plain project: odd names": (
        f"{CONTENTS}::test_odd_names {PLAIN_WHEELS}::test_every_file_is_recorded_and_goes_again"
    ),
    "plain project: same bytes in another folder": (
        f"{PLAIN_WHEELS}::test_the_same_files_are_the_same_bytes"
    ),
    "plain project: keys, .env and databases stay here": (
        f"{CONTENTS}::test_databases_and_keys_are_known_by_their_contents "
        f"{CONTENTS}::test_files_of_a_plain_project"
    ),
}

CASES: Mapping[str, str] = {**DETECTION, **CHOICE, **BUILDS, **HOSTS, **PLAIN}


def tests_of(case: str) -> tuple[str, ...]:
    """What a case names."""
    return tuple(CASES[case].split())


def is_named(name: str, node: str) -> bool:
    """Whether a name of the table means a test, by pytest's id of it."""
    function, _, word = name.rstrip("]").partition("[")
    tested, _, parameters = node.removeprefix("tests/").rstrip("]").partition("[")
    return function == tested and word in parameters


def summary(passed: Iterable[str], failed: Iterable[str]) -> Iterator[str]:
    """What a run has shown, as lines; none where it ran nothing of the table. Both are pytest's ids."""
    passed, failed = tuple(passed), tuple(failed)
    shown = [case for case in CASES if all(_is_any(name, passed) for name in tests_of(case))]
    wrong = [case for case in CASES if any(_is_any(name, failed) for name in tests_of(case))]
    shown = [case for case in shown if case not in wrong]
    if shown or wrong:
        yield f"{len(shown)} of {len(CASES)} corner cases of packaging were shown by tests that passed"
    if wrong:
        yield f"corner cases with tests that failed: {'; '.join(wrong)}"
    missing = [case for case in CASES if case not in (*shown, *wrong)]
    if missing and len(shown) > len(missing):
        yield f"corner cases whose tests did not run: {'; '.join(missing)}"


def _is_any(name: str, nodes: Iterable[str]) -> bool:
    return any(is_named(name, node) for node in nodes)


def functions(text: str) -> frozenset[str]:
    """Names of the test functions of a module."""
    return frozenset(re.findall(r"(?m)^(?:async )?def (test_\w+)", text))
