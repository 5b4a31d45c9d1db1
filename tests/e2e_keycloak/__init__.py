"""The service against a real Keycloak, with the realm file and the version that the compose stack ships.

Run by `make e2e-keycloak` alone: it fetches Keycloak (150 MB, once) and needs Java 17 or newer and Maven.
"""
