"""What django-deploy has to be as fast as, measured side by side on a real host."""
