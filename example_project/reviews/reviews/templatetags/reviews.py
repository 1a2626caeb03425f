"""Tags that show reviews."""

from django import template

register = template.Library()


@register.inclusion_tag("reviews/reviews.html")
def reviews_of(book):
    """All reviews of one book, the newest first."""
    return {"reviews": book.reviews.all()}


@register.filter
def as_stars(number):
    """3 becomes three full stars and two empty ones."""
    return "★" * number + "☆" * (5 - number)
