"""Each check is a function from columns to findings; ``registry`` is the one table that lists them."""
