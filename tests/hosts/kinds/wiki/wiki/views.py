from django.shortcuts import render

from wiki.models import Page


def page(request):
    Page.objects.create()
    return render(request, "wiki/page.html", {"count": Page.objects.count()})
