"""``python -m affineur``."""

import sys

from affineur.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
