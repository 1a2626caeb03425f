"""This machine: what a deployment needs before any host is asked."""

from __future__ import annotations

from django_deploy.bundle.index.client import IndexFailure, shown
from django_deploy.bundle.index.pages import has_page
from django_deploy.bundle.index.sources import read_sources
from django_deploy.doctor.finding import Finding, error, ok, warning
from django_deploy.target import Target

#: Every site has it, so every index that is enough for one has a page of it.
DISTRIBUTION = "django"


def check_index(target: Target) -> Finding:
    """Hashes and wheels are asked of it from here."""
    sources = read_sources(target.index_url)
    places = ", ".join(map(shown, sources.index_urls)) or ", ".join(sources.find_links)
    try:
        is_known = has_page(sources, DISTRIBUTION)
    except IndexFailure as failure:
        remedy = "Check the network, INDEX_URL, and what 'pip config list' says."
        return error("index", f"no answer here: {failure}", remedy)
    if not is_known:
        remedy = "Is INDEX_URL, or pip's index-url, the address of a simple index (…/simple/)?"
        return warning("index", f"{places} answers, and has no Django", remedy)
    return ok("index", f"{places} answers")
