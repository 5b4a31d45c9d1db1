#!/bin/sh
# Writes the local stack's secrets into .local/secrets/, and the key pair of `make -s token` into .local/, each once:
# an existing one is kept, since the database's volume remembers its password. `make secrets` calls this.
set -eu

cd "$(dirname "$0")/.."
if ! command -v openssl >/dev/null; then
    echo "The key pair is made by openssl, which is not installed." >&2
    exit 1
fi

random() {
    openssl rand -hex 32 | tr -d '\n'
}

private_key() {
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null # it draws its progress there
}

# Writes what the command after the name prints, whole or not at all.
keep_or_write() {
    file=$1
    shift
    if [ ! -s "$file" ]; then
        "$@" >"$file.new"
        mv "$file.new" "$file"
    fi
}

mkdir -p .local/secrets
# Docker mounts these files as they are, and the containers run as users of their own: so the files can be read by
# anyone, and the folder can be entered by its owner alone.
chmod 700 .local/secrets
umask 022
for name in db_password secret_key keycloak_admin_password keycloak_demo_password; do
    keep_or_write ".local/secrets/$name" random
done
printf 'postgresql://userdata:%s@db:5432/userdata' "$(cat .local/secrets/db_password)" >.local/secrets/database_url

# The stack is given the public key alone.
if [ ! -s .local/jwt_public_key.pem ]; then
    umask 077
    keep_or_write .local/jwt_private_key.pem private_key
    umask 022
    keep_or_write .local/jwt_public_key.pem openssl pkey -in .local/jwt_private_key.pem -pubout
fi

# The certificate of https://127.0.0.1:8443, signed by itself.
keep_or_write .local/secrets/tls_private_key private_key
keep_or_write .local/secrets/tls_certificate openssl req -x509 -new -key .local/secrets/tls_private_key -days 3650 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
