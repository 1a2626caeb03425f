from django.shortcuts import render

from wiki.models import Page


def page(request):
    if "write" in request.GET:
        Page.objects.create()
    return render(request, "wiki/page.html", {"count": Page.objects.count()})
