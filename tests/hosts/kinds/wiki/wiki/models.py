from django.db import models


class Page(models.Model):
    pass
