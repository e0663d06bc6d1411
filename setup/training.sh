#!/usr/bin/env bash
# Installs what training linkage models needs (the extra `mpi-train`) into .venv, and a Java runtime for Spark.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/common.sh

say "installing what training linkage models needs"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-train.txt

command -v java >/dev/null && exit 0
apt_install default-jre-headless || true
if ! command -v java >/dev/null; then
    say "Java is not installed and cannot be installed from here: training works on DuckDB, not on Spark."
    say "To train on Spark, install the package 'default-jre-headless' and repeat."
    # On a build server a skipped half of the tests is a failure.
    [ "${CI:-}" != true ]
fi
