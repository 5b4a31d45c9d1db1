"""The ten tables of numbers: which result each path has, in the words and numbers of the API document."""

from collections.abc import Mapping

import pytest

from userdata.urls import urlpatterns

COMMON = {
    "success": 0,
    "fail by token invalid": -1,
    "fail by token expired": -2,
    "fail by access denied": -3,
    "fail by service temporary not valid": -4,
    "fail by invalid parameters": -5,
}
SET = {"fail by key access denied": -6, "fail by key invalid": -7}
GET = {"success not found": 1, "fail by keys size limit reached": -6}
NOT_FOUND = {"success not found": 1}
NO_PROVIDER = {"fail by identity provider not found": -6}
NO_WALLET = {"fail by wallet not exists": -6}

# What each path has besides the common six.
TABLES: Mapping[str, Mapping[str, int]] = {
    "user-data/set": SET,
    "user-data/get": {"fail by keys size limit reached": -6},
    "user-data/by-user-id/set": SET,
    "user-data/by-user-id/get": GET,
    "user-data/by-user-id/list-get": NOT_FOUND,
    "user-data/by-user-id/shared-list-get": NOT_FOUND,
    "user-data/by-user-id/delete": NOT_FOUND,
    "user-data/by-email/set": SET,
    "user-data/by-email/get": GET,
    "user-data/by-email/list-get": NOT_FOUND,
    "user-data/by-email/shared-list-get": NOT_FOUND,
    "user-data/by-email/delete": NOT_FOUND,
    "user-data/by-idp/set": NO_PROVIDER | {"fail by key access denied": -7, "fail by key invalid": -8},
    "user-data/by-idp/get": NOT_FOUND | NO_PROVIDER | {"fail by keys size limit reached": -7},
    "user-data/by-idp/list-get": NOT_FOUND | NO_PROVIDER,
    "user-data/by-idp/shared-list-get": NOT_FOUND | NO_PROVIDER,
    "user-data/by-idp/delete": NOT_FOUND | NO_PROVIDER,
    "user-data/by-wallet/set": NO_WALLET | {"fail by key access denied": -7, "fail by key invalid": -8},
    "user-data/by-wallet/get": NOT_FOUND | NO_WALLET | {"fail by keys size limit reached": -7},
    "user-data/by-wallet/list-get": NOT_FOUND | NO_WALLET,
    "user-data/by-wallet/shared-list-get": NOT_FOUND | NO_WALLET,
    "user-data/by-wallet/delete": NOT_FOUND | NO_WALLET,
}


def test_the_paths_are_those_of_the_document() -> None:
    assert [str(each.pattern) for each in urlpatterns] == list(TABLES)
    assert len(TABLES) == 22


@pytest.mark.parametrize("path", TABLES)
def test_a_path_has_its_own_numbers_and_no_other(path: str) -> None:
    (view,) = (each.callback for each in urlpatterns if str(each.pattern) == path)

    results: Mapping[str, int] = view.view_initkwargs["results"]

    assert {str(outcome): number for outcome, number in results.items()} == {**COMMON, **TABLES[path]}
    assert len(set(results.values())) == len(results), "two outcomes share a number"
