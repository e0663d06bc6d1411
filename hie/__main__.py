"""`python -m hie`."""

import sys

from hie.cli import main

if __name__ == "__main__":
    sys.exit(main())
