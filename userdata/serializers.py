"""The request's fields → parameters, or which result they fail with.

DRF's own fields are helpful where a store must not be: they trim strings and turn numbers into
them. The fields here take a value as it is or refuse it.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, TypeAlias

from django.conf import settings
from rest_framework import serializers

from userdata.exceptions import InvalidParameters, KeyInvalid
from userdata.parsers import INT64, Body
from userdata.text import CONTROL

Params: TypeAlias = dict[str, Any]


class Int64Field(serializers.IntegerField):
    """An integer in JSON: `7`, but not `7.0`, `"7"`, `true` or `1e3`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=INT64.start, max_value=INT64.stop - 1, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> int | None:
        if data is serializers.empty or data is None:
            return None
        if type(data) is not int or data not in INT64:
            raise InvalidParameters(f"{self.field_name} must be an integer within int64.")
        return data


class ExactStringField(serializers.CharField):
    """A string, code point for code point."""

    def run_validation(self, data: Any = serializers.empty) -> str:
        if data is serializers.empty or data is None:
            raise InvalidParameters(f"{self.field_name} is required.")
        if type(data) is not str:
            raise InvalidParameters(f"{self.field_name} must be a string.")
        return data


class ValueField(ExactStringField):
    """A value that PostgreSQL can hold, of at most `MAX_VALUE_BYTES` bytes in UTF-8."""

    def run_validation(self, data: Any = serializers.empty) -> str:
        value = super().run_validation(data)
        try:
            size = len(value.encode())
        except UnicodeEncodeError as cause:
            raise InvalidParameters(f"{self.field_name} must not contain lone surrogates.") from cause
        if size > settings.MAX_VALUE_BYTES:
            raise InvalidParameters(f"{self.field_name} may have at most {settings.MAX_VALUE_BYTES} bytes in UTF-8.")
        if "\0" in value:
            raise InvalidParameters(f"{self.field_name} must not contain U+0000.")
        return value


class KeyField(ExactStringField):
    """An allowed key. Its rules are looked at when all fields are known to be there: -5 goes before -7."""

    def validate_key(self, key: str) -> None:
        """Raises `KeyInvalid`. 128 characters are at most 512 bytes, so bytes need no counting."""
        if not 1 <= len(key) <= settings.MAX_KEY_CHARS:
            raise KeyInvalid(f"{self.field_name} must have 1 to {settings.MAX_KEY_CHARS} characters.")
        if CONTROL.search(key):
            raise KeyInvalid(f"{self.field_name} must not contain control characters.")
        try:
            key.encode()
        except UnicodeEncodeError as cause:
            raise KeyInvalid(f"{self.field_name} must not contain lone surrogates.") from cause


class UserDataSerializer(serializers.Serializer[Params]):
    """The fields of one endpoint. Unknown fields are ignored."""

    request_id = Int64Field(required=False, allow_null=True, help_text="Opaque; comes back in the answer.")

    @classmethod
    def parse(cls, body: Body) -> Params:
        """The parameters of a request. Raises `InvalidParameters` or `KeyInvalid`."""
        if body.problem:
            raise InvalidParameters(body.problem)
        return _instance(cls).run_validation(body.fields)

    def run_validation(self, data: Any = serializers.empty) -> Params:
        params = {name: field.run_validation(data.get(name, serializers.empty)) for name, field in self._named_fields}
        for name, field in self._key_fields:
            field.validate_key(params[name])
        return params

    @cached_property
    def _named_fields(self) -> Sequence[tuple[str, serializers.Field[Any, Any, Any, Any]]]:
        return list(self.fields.items())

    @cached_property
    def _key_fields(self) -> Sequence[tuple[str, KeyField]]:
        return [(name, field) for name, field in self._named_fields if isinstance(field, KeyField)]


@cache
def _instance(kind: type[UserDataSerializer]) -> UserDataSerializer:
    """One for all requests: DRF copies all fields for each new one."""
    return kind()


class SetParams(UserDataSerializer):
    """POST /user-data/set"""

    value_key = KeyField(help_text=f"The key: 1 to {settings.MAX_KEY_CHARS} characters, no control characters.")
    value_data = ValueField(
        allow_blank=True, help_text=f"The value, stored exactly as given; at most {settings.MAX_VALUE_BYTES:,} bytes."
    )
