"""Raised by a test that cannot run here; the message says what is missing."""


class Skip(Exception):
    pass
