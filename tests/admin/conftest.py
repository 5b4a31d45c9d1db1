import pytest
from django.contrib.auth.models import User
from django.test import Client

from userdata.models import StoredValue


@pytest.fixture(autouse=True)
def empty_table(request: pytest.FixtureRequest) -> None:
    """The service's tests, which commit, leave rows behind; within the transaction of a test there are none."""
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        request.getfixturevalue("db")
        StoredValue.objects.all().delete()


@pytest.fixture
def staff(db: None) -> Client:
    """The browser of somebody who may do everything."""
    client = Client()
    client.force_login(User.objects.create(username="operator", is_staff=True, is_superuser=True))
    return client
