"""What one machine needs to run the service by itself: PostgreSQL, a key pair, a first start.

Nothing in here is part of the deployed service.
"""


class LocalError(RuntimeError):
    """What keeps the service from running on this machine, in a sentence without its full stop."""
