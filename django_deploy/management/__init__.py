"""The Django face of django-deploy: management commands and what they share."""
