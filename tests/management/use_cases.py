"""Puts fakes in the place of use cases, for what commands make of arguments and answers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def replaced(**fakes: object) -> Iterator[None]:
    """Each function of a module of ours that its fake has, too, is the fake's meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, fake in fakes.items():
            module = importlib.import_module(f"django_deploy.{name}")
            for function in vars(type(fake)):
                if not function.startswith("_") and hasattr(module, function):
                    patch.setattr(module, function, getattr(fake, function))
        yield
