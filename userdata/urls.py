"""Every endpoint, one line each."""

from django.urls import path

from userdata import views

urlpatterns = [
    path("user-data/set", views.SetValue.as_view(), name="user-data-set"),
]
