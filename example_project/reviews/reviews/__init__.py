"""Readers' reviews of the books in the catalogue."""
