import json
from pathlib import Path

from django.http import HttpResponse
from django.urls import path

RANKS = json.loads(Path(__file__).with_name("ranks.json").read_text())

urlpatterns = [path("", lambda request: HttpResponse(", ".join(RANKS)))]
