from django.http import HttpResponse
from django.urls import path

from django_deploy.site.health import health

urlpatterns = [
    path("", lambda request: HttpResponse("the test site")),
    path("healthz/", health),
]
