"""What every candidate is asked to do: the users, their keys, and a candidate's way of saying `set`."""

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

USERS = 2_000
KEYS = 10
ROWS = USERS * KEYS
ISSUER = "https://login.example/realms/bench"
APP = "bench-app"
# Bytes of a value where its size is not what is being measured.
VALUE_BYTES = 32

SET_BODY = '{"request_id":7,"value_key":"{key}","value_data":"{value}"}'


def user_id(n: int) -> str:
    """The `sub` of user `n`; `USER_ID_SQL` is the same in SQL."""
    return str(uuid.UUID(hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest()))


USER_ID_SQL = "md5({n}::text)::uuid::text"


@dataclass(frozen=True)
class Load:
    """How one candidate is asked to store a value, and how it says that it did.

    `{user}`, `{key}` and `{value}` in `path` and `body` stand for what each request picks.
    """

    # One line for each user: the id that `{user}` stands for, a tab, the Authorization header's value.
    users_file: Path
    method: str = "POST"
    path: str = "/user-data/set"
    body: str = SET_BODY
    success: str = '"result":0'
