"""``python -m trajtune``."""

import sys

from trajtune.cli import main

if __name__ == "__main__":
    sys.exit(main())
