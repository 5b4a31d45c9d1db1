"""The endpoints."""

from django.urls import path

from plain.views import Ready, SetValue

urlpatterns = [
    path("user-data/set", SetValue.as_view()),
    path("readyz", Ready.as_view()),
]
