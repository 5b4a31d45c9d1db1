"""The words and examples of the OpenAPI document: what a program can't read off the views."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from userdata import results
from userdata.results import Outcome, Results

INTRODUCTION = """\
Small values that apps keep for their users: five actions on five storages.

- Whose data it is follows from the access token, and the storage from the path. No request names another user.
- Every documented result comes with HTTP status 200: look at `result`. 0 and 1 are successes, below 0 are failures.
  What a number below -5 means depends on the endpoint. A failure stores, deletes and shows nothing, and its answer has
  the same fields as a success, empty.
- On a failure the header `X-Result-Detail` names the field and the rule, in one sentence for people.
- Fields that are not described here are ignored, and so are cookies. `null` in an optional field is the same as none.
"""


class Storage(NamedTuple):
    """What is particular to a storage."""

    description: str
    fields: Mapping[str, Any] = {}
    """An example of the fields by which a request names whose data it means."""
    note: str = ""


STORAGES: Mapping[str, Storage] = {
    "basic": Storage("The user's data, by the paths that came first. The same storage as `by-user-id`."),
    "by-user-id": Storage("The user's data."),
    "by-email": Storage(
        "The user's data by the verified email that the token names.",
        note="A token without a verified email gets -3.",
    ),
    "by-idp": Storage(
        "The user's data by an account at an identity provider that the token names.",
        fields={"identity_provider": "google"},
        note="`identity_providers`, an array of one name, counts where `identity_provider` is absent.",
    ),
    "by-wallet": Storage(
        "The user's data by the wallet that the token names.",
        fields={"wallet_address": "0x52908400098527886e0f7030069857d2e4169ee7"},
        note="Without `wallet_address`, or with an empty one, the token's wallet is meant. A request that names an "
        "`identity_provider` and no wallet is refused: it is meant for `by-idp`.",
    ),
}

# The names of the ten tables of numbers.
RESULT_NAMES: Sequence[tuple[Results, str]] = [
    (results.SET, "SetResult"),
    (results.GET_BASIC, "GetBasicResult"),
    (results.GET, "GetResult"),
    (results.LIST, "ListOrDeleteResult"),
    (results.SET_IDP, "SetByIdpResult"),
    (results.GET_IDP, "GetByIdpResult"),
    (results.LIST_IDP, "ListOrDeleteByIdpResult"),
    (results.SET_WALLET, "SetByWalletResult"),
    (results.GET_WALLET, "GetByWalletResult"),
    (results.LIST_WALLET, "ListOrDeleteByWalletResult"),
]

# What each outcome tells the developer of an app.
MEANINGS: Mapping[Outcome, str] = {
    Outcome.SUCCESS: "It is done; what was written or deleted is committed to disk.",
    Outcome.NOT_FOUND: "There is nothing that this app may see or delete.",
    Outcome.TOKEN_INVALID: "There is no token, or it is not one that this service accepts.",
    Outcome.TOKEN_EXPIRED: "The token was good, and its time is over: get a fresh one and send the request again.",
    Outcome.ACCESS_DENIED: "The token is good and lacks a scope or, by email, a verified email.",
    Outcome.SERVICE_UNAVAILABLE: "Nothing is wrong with the request: send it again after the seconds in Retry-After.",
    Outcome.INVALID_PARAMETERS: "The body, a field or a limit is wrong; X-Result-Detail says which.",
    Outcome.KEY_ACCESS_DENIED: "The key is there, and another app set it first.",
    Outcome.KEY_INVALID: "value_key is no allowed key; X-Result-Detail names the rule.",
    Outcome.KEYS_SIZE_LIMIT_REACHED: "Too many keys are asked for, or their values are too large together.",
    Outcome.IDENTITY_PROVIDER_NOT_FOUND: "The token names no account at this identity provider: the provider is not "
    "known, not offered or not linked.",
    Outcome.WALLET_NOT_EXISTS: "The token proves no wallet, or not the one that is asked for.",
}


class Action(NamedTuple):
    """What is particular to an action."""

    request: Mapping[str, Any]
    """An example of its fields."""
    answer: Mapping[str, Any]
    """An example of the fields of its answer."""
    success: str
    not_found: str = ""
    note: str = ""


ACTIONS: Mapping[str, Action] = {
    "set": Action(
        request={"value_key": "notes-theme", "value_data": "dark"},
        answer={},
        success="The value is stored, and committed to disk.",
        note="Who sets a key first owns it: a set by another app of the user is refused.",
    ),
    "get": Action(
        request={"value_keys": ["notes-theme", "mail/signature"]},
        answer={"values": [{"value_key": "notes-theme", "value_data": "dark"}]},
        success="`values` holds what was found.",
        not_found="None of the keys is there: absent, or another app's private one.",
        note="A name is looked for among the app's own keys first. `app/key`, as `shared-list-get` writes it, then "
        "names a public key of another app of the user.",
    ),
    "list-get": Action(
        request={},
        answer={"keys_private": ["notes-draft"], "keys_public": ["notes-theme"]},
        success="The lists hold all of the app's own keys, in order.",
        not_found="The app has no keys here.",
        note="No body at all is the same as `{}`.",
    ),
    "shared-list-get": Action(
        request={"search_id": "", "page_size": 100},
        answer={"keys_shared": ["mail-app/signature"], "next_search_id": ""},
        success="`keys_shared` holds the keys of this page; after the last full page it may be empty.",
        not_found="The user's other apps have no public keys here. Said of the first page only.",
        note="Ask for the next page with the `next_search_id` of the last one, until it is empty. No body at all is "
        "the same as `{}`.",
    ),
    "delete": Action(
        request={"value_keys": ["notes-theme", "notes-old"]},
        answer={
            "keys_delete_results": [
                {"value_key": "notes-theme", "is_deleted": True},
                {"value_key": "notes-old", "is_deleted": False},
            ]
        },
        success="At least one of the keys was there and is deleted, which is committed to disk.",
        not_found="None of the keys is one of the app's own; nothing was deleted.",
        note="Only the app's own keys can be deleted. Their names are free again at once, for any app.",
    ),
}

# HTTP statuses other than 200, and the outcome that goes with each.
STATUSES: Mapping[int, tuple[Outcome, str]] = {
    404: (Outcome.INVALID_PARAMETERS, "Nothing is served on this path. A trailing slash makes another path."),
    405: (Outcome.INVALID_PARAMETERS, "The path takes another method, which Allow names."),
    413: (Outcome.INVALID_PARAMETERS, "The body is over the limit."),
    429: (Outcome.SERVICE_UNAVAILABLE, "The caller is asked to slow down."),
    500: (Outcome.SERVICE_UNAVAILABLE, "An unforeseen error. Its cause is in the service's log under X-Request-Id."),
}


def meaning(outcome: Outcome, action: str) -> str:
    """What an outcome of an action says."""
    particular = {Outcome.SUCCESS: ACTIONS[action].success, Outcome.NOT_FOUND: ACTIONS[action].not_found}
    return particular.get(outcome) or MEANINGS[outcome]
