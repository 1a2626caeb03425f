"""The addresses of the site."""

from django.contrib import admin
from django.urls import include, path

from django_deploy.site.health import health

urlpatterns = [
    path("healthz/", health),
    path("admin/", admin.site.urls),
    path("", include("catalogue.urls")),
]
