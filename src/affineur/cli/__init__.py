"""The command line: parse, call, print; no logic."""

import sys

from affineur.cli.early import handle_early

handle_early(sys.argv[1:])  # here, for everything else takes half a second to import
