"""What is served where. The API's endpoints are in `userdata.urls`."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from hypersecureid import health, reference
from userdata import urls as userdata

urlpatterns = [
    *userdata.urlpatterns,
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("openapi.json", reference.document),
    path("docs", reference.page),
    path("", reference.home),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]

handler400 = "userdata.exceptions.bad_request"
handler404 = "userdata.exceptions.not_found"
handler500 = "userdata.exceptions.server_error"
