"""The store: everything that is said to the database about values. It knows nothing of HTTP."""

from userdata.storage.exceptions import (
    NotStorable,
    OwnedByAnotherApp,
    QuotaReached,
    StoreError,
    StoreUnavailable,
    TooMuchData,
)
from userdata.storage.items import Name, Owner, Write
from userdata.storage.store import Store

__all__ = [
    "Name",
    "NotStorable",
    "OwnedByAnotherApp",
    "Owner",
    "QuotaReached",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "TooMuchData",
    "Write",
]
