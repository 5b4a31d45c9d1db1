"""The option that names the user whose data a command is about."""

from argparse import ArgumentTypeError

from userdata.text import CONTROL, is_unicode


def user_id(text: str) -> str:
    """A user's id, as a token's `sub` can be: no part of one, and nothing that stands for several users."""
    if not text or CONTROL.search(text) or not is_unicode(text):
        raise ArgumentTypeError("it must be the sub of a token: not empty, without control characters.")
    return text
