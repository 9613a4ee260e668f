"""Requests on one table as pure functions: what they may say, what they do to an item, what is answered."""
