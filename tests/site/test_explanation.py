import types

from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

from django_deploy.site.explanation import explain


def sick(request):
    raise RuntimeError(f"{request.get_host()} over {request.scheme}")


def well(request):
    return HttpResponse("well")


URLS = types.ModuleType("urls")
URLS.urlpatterns = [path("sick/", sick), path("well/", well)]


def test_exception_behind_a_500():
    proxy = ("HTTP_X_FORWARDED_PROTO", "https")
    with override_settings(ROOT_URLCONF=URLS, SECURE_PROXY_SSL_HEADER=proxy):
        lines = explain("/sick/", "shop.example.com", {"X-Forwarded-Proto": "https"})

    assert lines[0] == "Traceback (most recent call last):"
    assert any(f'File "{__file__}"' in line and line.endswith("in sick") for line in lines)
    assert lines[-1] == "RuntimeError: shop.example.com over https"


def test_page_that_answers():
    with override_settings(ROOT_URLCONF=URLS):
        assert explain("/well/", "shop.example.com", {}) == []
        assert explain("/nowhere/", "shop.example.com", {}) == []
