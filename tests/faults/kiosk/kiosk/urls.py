import os

from django.http import HttpResponse
from django.urls import path

from django_deploy.site.health import health

PAGE = '<span id="mark">kiosk</span> <code id="release">{DJANGO_DEPLOY_RELEASE}</code>'


def page(request):
    return HttpResponse(PAGE.format_map(os.environ))


urlpatterns = [path("", page), path("healthz/", health)]
