"""Put a Django project on servers: ``python manage.py deploy staging``."""

__version__ = "0.1.0"
