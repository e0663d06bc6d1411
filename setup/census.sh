#!/usr/bin/env bash
# Makes .venv-census: the simulator of a census, with packages that must not meet the hub's own.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/common.sh

rm -rf .venv-census
.venv/bin/python -m venv .venv-census
say "installing the simulator of a census"
.venv-census/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-census.txt
