"""What a text must not hold, whether it comes in a body or in a token."""

import re
from typing import NoReturn

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def refuse_constant(constant: str) -> NoReturn:
    """For Python's JSON decoder, which would take `NaN` and `Infinity`."""
    raise ValueError(f"{constant} is not JSON")


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8: half of a surrogate pair can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
