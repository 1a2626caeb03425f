"""``X-Release``: each answer says which release made it. Put it into MIDDLEWARE to have it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from .release import release

HEADER = "X-Release"

Answer = Callable[[HttpRequest], HttpResponseBase]
AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def release_header(get_response: Answer | AsyncAnswer) -> Answer | AsyncAnswer:
    """Adds the header; in development, where there is no release, it adds nothing."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            return _signed(await cast("AsyncAnswer", get_response)(request))

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        return _signed(cast("Answer", get_response)(request))

    return answer


def _signed(response: HttpResponseBase) -> HttpResponseBase:
    current = release()
    if current is not None:
        response.headers[HEADER] = current.id
    return response
