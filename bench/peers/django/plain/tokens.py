"""The access tokens of the identity provider."""

from rest_framework_simplejwt.tokens import AccessToken


class BearerToken(AccessToken):
    """An access token whose `typ` is `Bearer`, as Keycloak writes it."""

    token_type = "Bearer"
