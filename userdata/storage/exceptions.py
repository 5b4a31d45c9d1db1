"""What the store raises. Each text is one short ASCII sentence that can be shown to callers."""


class StoreError(Exception):
    """Something that was asked for was not done."""


class StoreUnavailable(StoreError):
    """The database can't be used now: nothing is wrong with what was asked."""


class OwnedByAnotherApp(StoreError):
    """The key exists, and another app of the same owner set it first."""


class QuotaReached(StoreError):
    """The app has as many keys of this owner as it may."""


class NotStorable(StoreError):
    """PostgreSQL can't hold the key or the value."""


class TooMuchData(StoreError):
    """The values found are larger together than may be read at once."""
