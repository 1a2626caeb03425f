"""One line that every page shows; change it, deploy, and see it change."""

MARK = "first edition"
