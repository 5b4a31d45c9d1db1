"""The request's fields → parameters, or what is wrong with them.

DRF's own fields are helpful where a store must not be: they trim strings and turn numbers into them. The fields here
take a value as it is or raise `ValidationError`, whose `code` says which rule was broken (`userdata.exceptions`).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, ClassVar, TypeAlias

from django.conf import settings
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from userdata.exceptions import KeyInvalid
from userdata.models import AccessScope
from userdata.parsers import INT64
from userdata.text import CONTROL, is_unicode

Params: TypeAlias = dict[str, Any]

MAX_KEY_BYTES = 512  # with what a token adds, an entry of the index has less than PostgreSQL's 2,704
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


class Unburdened(serializers.Field[Any, Any, Any, Any]):
    """Prepares nothing for validators where there are none, as here: the rules are in fields and in `validate`."""

    def run_validators(self, value: Any) -> None:
        if self.validators:
            super().run_validators(value)


class StrictField(Unburdened):
    """A field that alters nothing. `null` in an optional field means that it is absent."""

    default_error_messages: ClassVar = {"required": "is required.", "null": "is required."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=not kwargs.get("required", True), **kwargs)

    def to_representation(self, value: Any) -> Any:
        return value


class IntegerField(StrictField):
    """An integer in JSON within bounds, both included: `7`, but not `7.0`, `"7"`, `true` or `1e3`."""

    default_error_messages: ClassVar = {"range": "must be an integer from {first} to {last}."}

    def __init__(self, first: int, last: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.last = first, last

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int or not self.first <= data <= self.last:
            self.fail("range", first=self.first, last=self.last)
        return data


class Int64Field(IntegerField):
    """An opaque int64, never through a float."""

    default_error_messages: ClassVar = {"range": "must be an integer within int64."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(INT64.start, INT64.stop - 1, **kwargs)


class StringField(StrictField):
    """A string, code point for code point."""

    default_error_messages: ClassVar = {"type": "must be a string."}

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("type")
        return data


class KeyField(StringField):
    """A key to be set. Whether it is an allowed one is looked at later: who the owner is goes before."""


class ValueField(StringField):
    """A value that PostgreSQL can hold, of at most `MAX_VALUE_BYTES` bytes in UTF-8."""

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        try:
            size = len(value.encode())
        except UnicodeEncodeError as cause:
            raise ValidationError("must not contain lone surrogates.", code="value") from cause
        if size > settings.MAX_VALUE_BYTES:
            raise ValidationError(f"may have at most {settings.MAX_VALUE_BYTES} bytes in UTF-8.", code="value")
        if "\0" in value:
            raise ValidationError("must not contain U+0000.", code="value")
        return value


class StringListField(StrictField):
    """An array of strings."""

    default_error_messages: ClassVar = {"type": "must be an array of strings."}

    def to_internal_value(self, data: Any) -> list[str]:
        if type(data) is not list or not all(type(each) is str for each in data):
            self.fail("type")
        return data


class PlaceField(StringField):
    """An opaque place in a list of keys: behind the key that it holds. Empty is the beginning."""

    default_error_messages: ClassVar = {"value": "is not a search_id of this service."}

    def to_internal_value(self, data: Any) -> str:
        try:
            place = urlsafe_b64decode(super().to_internal_value(data).encode("ascii")).decode()
        except ValueError:  # not ASCII, not base64, not UTF-8
            self.fail("value")
        if self.written(place) != data or "\0" in place:
            self.fail("value")
        return place

    @staticmethod
    def written(key: str) -> str:
        """The place behind a key."""
        return urlsafe_b64encode(key.encode()).decode()


class AccessScopeField(IntegerField):
    """0 private, 1 public."""

    default_error_messages: ClassVar = {"range": "must be 0 (private) or 1 (public)."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min(AccessScope.values), max(AccessScope.values), **kwargs)


class AnyField(StrictField):
    """A value that is looked at only to see whether it is there."""

    def to_internal_value(self, data: Any) -> Any:
        return data


class UserDataSerializer(Unburdened, serializers.Serializer[Params]):
    """The fields of one endpoint. Unknown fields are ignored.

    One instance serves all requests, by DRF's own `run_validation`: to make one copies every field.
    """

    request_id = Int64Field(required=False, help_text="Opaque; comes back in the answer.")

    @cached_property
    def fields(self) -> Any:
        """By name: a plain dictionary is read three times as fast as DRF's own."""
        return dict(super().fields)


class SetParams(UserDataSerializer):
    value_key = KeyField(help_text="The key: 1 to 128 characters, no control characters.")
    value_data = ValueField(help_text="The value, stored exactly as given; at most 262,144 bytes.")


class SetSharedParams(SetParams):
    access_scope = AccessScopeField(
        required=False,
        help_text="0: private to this app; 1: public to the user's other apps, which is the default of each set, "
        "also of a key that was private.",
    )


class KeysParams(UserDataSerializer):
    value_keys = StringListField(help_text="The keys asked for; at most 100.")


class ListParams(UserDataSerializer):
    pass


class ListSharedParams(UserDataSerializer):
    search_id = PlaceField(required=False, help_text="The last answer's `next_search_id`; empty for the first page.")
    page_size = IntegerField(0, MAX_PAGE_SIZE, required=False, help_text="1 to 1,000; 0 and absent are 100.")


# What the storages ask for besides.


class NoFields(serializers.Serializer[Params]):
    pass


class IdentityProviderFields(serializers.Serializer[Params]):
    identity_provider = StringField(required=False, help_text="A name of the provider's `identity_providers`.")
    identity_providers = AnyField(
        required=False, help_text="An array with that one name, as some client libraries send it."
    )

    def validate(self, attrs: Params) -> Params:
        """The array counts where the string is absent."""
        if attrs.get("identity_provider") is None:
            names = attrs.get("identity_providers")
            if names is None:
                raise ValidationError({"identity_provider": ValidationError("is required.", "required").detail})
            if type(names) is not list or len(names) != 1 or type(names[0]) is not str:
                problem = ValidationError("must be an array of one string.", "type")
                raise ValidationError({"identity_providers": problem.detail})
            attrs["identity_provider"] = names[0]
        return attrs


class WalletFields(serializers.Serializer[Params]):
    wallet_address = StringField(required=False, help_text="A wallet of the user; by default the token's.")
    identity_provider = AnyField(required=False)
    identity_providers = AnyField(required=False)

    def validate(self, attrs: Params) -> Params:
        """One client library sends here what is meant for an identity provider's storage."""
        if not attrs.get("wallet_address"):
            for name in ("identity_provider", "identity_providers"):
                if attrs.get(name) is not None:
                    problem = ValidationError("belongs to the paths by-idp.", "misplaced")
                    raise ValidationError({name: problem.detail})
        return attrs


def check_key(key: str) -> None:
    """Raises `KeyInvalid` unless a key may be set."""
    if not 1 <= len(key) <= settings.MAX_KEY_CHARS:
        raise KeyInvalid(f"value_key must have 1 to {settings.MAX_KEY_CHARS} characters.")
    if key.isascii() and key.isprintable() and len(key) <= MAX_KEY_BYTES:
        return  # as nearly all keys are: nothing of what follows can be wrong with it
    if CONTROL.search(key):
        raise KeyInvalid("value_key must not contain control characters.")
    if not is_unicode(key):
        raise KeyInvalid("value_key must not contain lone surrogates.")
    if len(key.encode()) > MAX_KEY_BYTES:  # more than the default number of characters can have
        raise KeyInvalid(f"value_key may have at most {MAX_KEY_BYTES} bytes in UTF-8.")


def can_be_key(key: str) -> bool:
    """Whether a key of that name can be stored."""
    try:
        check_key(key)
    except KeyInvalid:
        return False
    return True


def combined(name: str, storage: type[serializers.Serializer[Params]], action: type[UserDataSerializer]) -> Any:
    """The class of an endpoint's serializer: its storage's fields and its action's."""
    return type(name, (storage, action), {"__doc__": None})
