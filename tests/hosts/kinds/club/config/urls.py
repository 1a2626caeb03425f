from django.shortcuts import render
from django.urls import include, path

urlpatterns = [
    path("", lambda request: render(request, "home.html")),
    path("members/", include("members.urls")),
    path("events/", include("apps.events.urls")),
]
