"""Books, their authors, their covers and how many are in stock."""
