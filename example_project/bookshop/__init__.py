"""The bookshop: settings, addresses and the WSGI application."""
