"""A small app with models, migrations (one of which can be told to fail), static files and commands."""
