"""Every endpoint, one line each."""

from django.urls import path

from userdata import results
from userdata.serializers import SetParams
from userdata.storages import BASIC, EMAIL, IDP, USER_ID, WALLET
from userdata.views import DeleteKeys, GetValues, ListKeys, ListSharedKeys, SetValue

# fmt: off
urlpatterns = [
    path("user-data/set", SetValue.as_view(storage=BASIC, results=results.SET, params=SetParams)),
    path("user-data/get", GetValues.as_view(storage=BASIC, results=results.GET_BASIC)),

    path("user-data/by-user-id/set", SetValue.as_view(storage=USER_ID, results=results.SET)),
    path("user-data/by-user-id/get", GetValues.as_view(storage=USER_ID, results=results.GET)),
    path("user-data/by-user-id/list-get", ListKeys.as_view(storage=USER_ID, results=results.LIST)),
    path("user-data/by-user-id/shared-list-get", ListSharedKeys.as_view(storage=USER_ID, results=results.LIST)),
    path("user-data/by-user-id/delete", DeleteKeys.as_view(storage=USER_ID, results=results.LIST)),

    path("user-data/by-email/set", SetValue.as_view(storage=EMAIL, results=results.SET)),
    path("user-data/by-email/get", GetValues.as_view(storage=EMAIL, results=results.GET)),
    path("user-data/by-email/list-get", ListKeys.as_view(storage=EMAIL, results=results.LIST)),
    path("user-data/by-email/shared-list-get", ListSharedKeys.as_view(storage=EMAIL, results=results.LIST)),
    path("user-data/by-email/delete", DeleteKeys.as_view(storage=EMAIL, results=results.LIST)),

    path("user-data/by-idp/set", SetValue.as_view(storage=IDP, results=results.SET_IDP)),
    path("user-data/by-idp/get", GetValues.as_view(storage=IDP, results=results.GET_IDP)),
    path("user-data/by-idp/list-get", ListKeys.as_view(storage=IDP, results=results.LIST_IDP)),
    path("user-data/by-idp/shared-list-get", ListSharedKeys.as_view(storage=IDP, results=results.LIST_IDP)),
    path("user-data/by-idp/delete", DeleteKeys.as_view(storage=IDP, results=results.LIST_IDP)),

    path("user-data/by-wallet/set", SetValue.as_view(storage=WALLET, results=results.SET_WALLET)),
    path("user-data/by-wallet/get", GetValues.as_view(storage=WALLET, results=results.GET_WALLET)),
    path("user-data/by-wallet/list-get", ListKeys.as_view(storage=WALLET, results=results.LIST_WALLET)),
    path("user-data/by-wallet/shared-list-get", ListSharedKeys.as_view(storage=WALLET, results=results.LIST_WALLET)),
    path("user-data/by-wallet/delete", DeleteKeys.as_view(storage=WALLET, results=results.LIST_WALLET)),
]
# fmt: on
