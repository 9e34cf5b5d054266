"""`python -m tench`: the same as the command `tench`."""

import sys

from tench.cli.main import main

sys.exit(main())
