from django.shortcuts import render

from .models import Story


def front_page(request):
    Story.objects.get_or_create(title="Water found")
    return render(request, "newsroom/front.html", {"stories": Story.objects.all()})
