"""Projects that nobody has made a package of: their files, and the wheel that is assembled from them."""
