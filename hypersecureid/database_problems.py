"""Why the database can't be used, in a sentence for whoever operates the service; without secrets, and in ASCII."""

import re

REFUSES_USER = "The database refuses the user or the password of DATABASE_URL."
DOES_NOT_EXIST = "The database that DATABASE_URL names does not exist on its server."
NOT_MIGRATED = "The database is not migrated: run `python manage.py migrate`."
LACKS_PRIVILEGE = "The user of DATABASE_URL lacks a privilege on the database's tables or schema."
NOTHING_LISTENS = "The connection to the database is refused: nothing listens at the address in DATABASE_URL."
UNKNOWN_HOST = "The host in DATABASE_URL is not known."
UNREACHABLE = "There is no route to the host in DATABASE_URL."
NO_ANSWER = "The database does not answer in time."
TOO_MANY_CONNECTIONS = "The database has no connection left: its max_connections or the user's limit is reached."
STARTING = "The database is starting up or shutting down."
BROKE_OFF = "The connection to the database broke off."
NO_TLS = "The database and sslmode in DATABASE_URL do not agree on TLS, or its certificate is not trusted."

_BY_SQLSTATE = {
    "28000": REFUSES_USER,
    "28P01": REFUSES_USER,
    "3D000": DOES_NOT_EXIST,
    "42P01": NOT_MIGRATED,
    "42501": LACKS_PRIVILEGE,
    "53300": TOO_MANY_CONNECTIONS,
    "57P01": BROKE_OFF,
    "57P02": BROKE_OFF,
    "57P03": STARTING,
}
# A connection that could not be made comes without an SQLSTATE, so it is told by the words of libpq and the server.
_BY_WORDS = {
    r"authentication failed|no password supplied|role \".*\" does not exist|pg_hba\.conf": REFUSES_USER,
    r"database \".*\" does not exist": DOES_NOT_EXIST,
    r"permission denied for (schema|table|database|sequence)": LACKS_PRIVILEGE,
    r"too many (clients|connections)|remaining connection slots": TOO_MANY_CONNECTIONS,
    r"is starting up|is shutting down|in recovery mode|not (yet )?accepting connections": STARTING,
    r"failed to resolve host|could not translate host name": UNKNOWN_HOST,
    r"\bSSL\b|certificate": NO_TLS,
    r"timeout expired|timed out|couldn't get a connection after": NO_ANSWER,
    r"No route to host|Network is unreachable": UNREACHABLE,
    r"Connection refused|No such file or directory": NOTHING_LISTENS,
    r"closed the connection|connection is (lost|closed)|terminating connection": BROKE_OFF,
}


def describe(problem: BaseException) -> str:
    """A sentence for a failure of psycopg's or of Django's database layer."""
    sentence, state = recognize(problem), _sqlstate(problem)
    return sentence or (f"The database failed with SQLSTATE {state}." if state else "The database can't be used.")


def recognize(problem: BaseException) -> str | None:
    """The sentence, where the cause is one that an operator can do something about."""
    if state := _sqlstate(problem):
        return _BY_SQLSTATE.get(state)
    if isinstance(problem, TimeoutError):
        return NO_ANSWER
    return next((sentence for words, sentence in _BY_WORDS.items() if re.search(words, str(problem))), None)


def _sqlstate(problem: BaseException) -> str | None:
    """The driver's, which Django keeps as the cause of its own exceptions."""
    state: str | None = getattr(problem, "sqlstate", None) or getattr(problem.__cause__, "sqlstate", None)
    return state
