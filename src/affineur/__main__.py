"""``python -m affineur``."""

import sys

from affineur_command import main

if __name__ == "__main__":
    sys.exit(main())
