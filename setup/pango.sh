#!/usr/bin/env bash
# Installs the libraries that set the text of PDF receipts and reports, and a font, where they are absent.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/common.sh

packages=(libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core)

has_pango() {
    .venv/bin/python - <<'PYTHON' 2>/dev/null
from hie.pdf import pdf_of

pdf_of('<html lang="en"><title>t</title><p>t</p></html>', "t")
PYTHON
}

# Cuts fonts to what a page needs; without it that is done in Python, four times slower.
has_subset() {
    .venv/bin/python -c 'import ctypes.util, sys; sys.exit(not ctypes.util.find_library("harfbuzz-subset"))'
}

has_pango && has_subset && exit 0
apt_install "${packages[@]}" || true
if ! has_pango; then
    say "PDF receipts and reports cannot be made on this machine; everything else works."
    say "To make them, install ${packages[*]} and repeat."
    # On a build server a skipped part of the tests is a failure.
    [ "${CI:-}" != true ]
fi
