#!/usr/bin/env python3
"""Keep settings for a user with the user-data API; nothing but Python's standard library is needed.

    TOKEN=… python3 settings.py set theme dark

The exit code says what happened: 0 done, 1 there is no such setting, 2 wrong usage, 3 the token does not do, 4 the
service can't be reached or is busy, 5 the service refused.
"""
# ruff: noqa: T201 - a command prints

import argparse
import json
import os
import re
import sys
import time
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

API = os.environ.get("API", "http://127.0.0.1:8000")
TOKEN = os.environ.get("TOKEN", "").strip()
# All apps of a user share one space of keys, so the keys of this one begin with its name.
PREFIX = "settings/"

TIMEOUT_SECONDS = 10
ATTEMPTS = 4
PAGE_SIZE = 100
PRIVATE, PUBLIC = 0, 1

OK, NOT_FOUND, TOKEN_PROBLEM, UNAVAILABLE, REFUSED = 0, 1, 3, 4, 5

# What a result below 0 means and the exit code for it. -6 and -7 belong to `set`; to `get`, -6 means too much at once.
PROBLEMS = {
    -1: ("The token is not accepted.", TOKEN_PROBLEM),
    -2: ("The token has expired: get a fresh one.", TOKEN_PROBLEM),
    -3: ("The token lacks a scope: email and user-data-get to read, email and user-data-set to write.", TOKEN_PROBLEM),
    -4: ("The service is busy. Try again in a while.", UNAVAILABLE),
    -5: ("The service does not accept this.", REFUSED),
    -6: ("Another app of the user owns this setting, or it is too much to read at once.", REFUSED),
    -7: ("This is no name for a setting.", REFUSED),
}


def call(action: str, **fields: Any) -> dict[str, Any]:
    """The answer of one endpoint of the storage by user id; its result is 0, or 1 where there is nothing."""
    for attempt in range(1, ATTEMPTS + 1):
        answer, headers = send(action, fields)
        if answer["result"] != -4 or attempt == ATTEMPTS:
            break
        seconds = headers.get("Retry-After", "")
        time.sleep(min(int(seconds), 30) if seconds.isdecimal() else 1)
    if answer["result"] < 0:
        sentence, code = PROBLEMS.get(answer["result"], ("The service refused.", REFUSED))
        end(f"{sentence} (result {answer['result']}) {headers.get('X-Result-Detail', '')}", code)
    return answer


def send(action: str, fields: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    try:
        request = Request(f"{API}/user-data/by-user-id/{action}", json.dumps(fields).encode(), headers)
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response), response.headers
    except HTTPError as error:  # a status other than 2xx, which may still come with a result
        with error:
            try:
                return {"result": int(json.load(error)["result"])}, error.headers
            except (ValueError, TypeError, KeyError):
                return {"result": -4}, error.headers  # a proxy's page
    except (URLError, OSError, ValueError) as error:
        end(f"The service at {API} can't be reached: {getattr(error, 'reason', error)}.", UNAVAILABLE)


def end(sentence: str, code: int) -> NoReturn:
    print(sentence.rstrip(), file=sys.stderr)
    sys.exit(code)


def set_setting(name: str, value: str, private: bool) -> int:
    # access_scope is named each time: where it is left out, a setting becomes public.
    call("set", value_key=PREFIX + name, value_data=value, access_scope=PRIVATE if private else PUBLIC)
    return OK


def get_setting(key: str) -> int:
    values = call("get", value_keys=[key])["values"]
    if not values:
        end("There is no such setting.", NOT_FOUND)
    print(values[0]["value_data"])
    return OK


def list_settings() -> int:
    keys = call("list-get")
    for scope in ("private", "public"):
        for key in keys[f"keys_{scope}"]:
            if key.startswith(PREFIX):
                print(f"{scope}\t{key.removeprefix(PREFIX)}")
    return OK


def delete_settings(names: list[str]) -> int:
    results = call("delete", value_keys=[PREFIX + name for name in names])["keys_delete_results"]
    for name in [each["value_key"].removeprefix(PREFIX) for each in results if not each["is_deleted"]]:
        print(f"There is no setting {name}.", file=sys.stderr)
    return OK if all(each["is_deleted"] for each in results) else NOT_FOUND


def list_shared() -> int:
    place = ""
    while True:
        page = call("shared-list-get", search_id=place, page_size=PAGE_SIZE)
        for key in page["keys_shared"]:
            print(key)
        place = page["next_search_id"]
        if not place:
            return OK


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep settings for the user of the access token in TOKEN.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("set", help="keep a setting")
    command.add_argument("name")
    command.add_argument("value")
    command.add_argument("--private", action="store_true", help="the user's other apps may not read it")
    command = commands.add_parser("get", help="print a setting")
    command.add_argument("name")
    commands.add_parser("list", help="print the names of all settings, and who may read them")
    command = commands.add_parser("delete", help="delete settings")
    command.add_argument("name", nargs="+")
    command = commands.add_parser("shared", help="print what the user's other apps share: all names, or a value")
    command.add_argument("name", nargs="?", help="as it is listed: app/key")
    given = parser.parse_args()

    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", TOKEN):  # RFC 6750
        end("There is no access token in the environment variable TOKEN.", TOKEN_PROBLEM)
    match given.command:
        case "set":
            return set_setting(given.name, given.value, given.private)
        case "get":
            return get_setting(PREFIX + given.name)
        case "list":
            return list_settings()
        case "delete":
            return delete_settings(given.name)
        case _:
            return get_setting(given.name) if given.name else list_shared()


if __name__ == "__main__":
    sys.exit(main())
