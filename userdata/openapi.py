from typing import TypeVar

T = TypeVar("T")
def describes_set(view: type[T]) -> type[T]:
    return view
