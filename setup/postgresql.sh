#!/usr/bin/env bash
# Installs PostgreSQL's server programs where they are absent. The tests start a server of their own
# in a temporary folder; the package's system-wide server is neither created nor used.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/common.sh

has_postgresql() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

has_postgresql && exit 0

# Without this file the package would make and start a server on port 5432.
conf=/etc/postgresql-common/createcluster.conf
if [ ! -e "$conf" ] && command -v apt-get >/dev/null && as_root true; then
    as_root mkdir -p "$(dirname "$conf")"
    printf 'create_main_cluster = false\n' | as_root tee "$conf" >/dev/null
fi
apt_install postgresql || true

if ! has_postgresql; then
    say "PostgreSQL is not installed and cannot be installed from here; its tests will be skipped."
    say "To run them, install the package 'postgresql' (apt-get install postgresql) and repeat."
    # On a build server a skipped half of the tests is a failure.
    [ "${CI:-}" != true ]
fi
