#!/bin/sh
# Writes the local stack's secrets into .local/secrets/, each once: an existing one is kept, since the database's
# volume remembers its password. `make secrets` calls this.
set -eu

cd "$(dirname "$0")/.."
mkdir -p .local/secrets
# Docker mounts these files as they are, and the containers run as users of their own: so the files can be read by
# anyone, and the folder can be entered by its owner alone.
chmod 700 .local/secrets
umask 022

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep_or_write() {
    [ -s ".local/secrets/$1" ] || printf %s "$2" >".local/secrets/$1"
}

for name in db_password secret_key keycloak_admin_password keycloak_demo_password; do
    keep_or_write "$name" "$(random)"
done
printf 'postgresql://userdata:%s@db:5432/userdata' "$(cat .local/secrets/db_password)" >.local/secrets/database_url
