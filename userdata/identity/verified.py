"""The tokens that were verified already."""

from collections import OrderedDict

from userdata.identity.claims import Verified


class VerifiedTokens:
    """What the newest `size` tokens say whose signature was checked, by digest; all by one generation of keys."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._generation = 0
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()

    def get(self, digest: bytes, generation: int) -> Verified | None:
        if generation != self._generation:  # a key may have been withdrawn
            self._verified.clear()
            self._generation = generation
        return self._verified.get(digest)

    def add(self, digest: bytes, generation: int, verified: Verified) -> None:
        if self.get(digest, generation) is None and len(self._verified) >= self._size:
            self._verified.popitem(last=False)
        self._verified[digest] = verified
