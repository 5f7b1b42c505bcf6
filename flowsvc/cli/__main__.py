"""``python -m flowsvc.cli`` is ``flowctl``."""

import sys

from flowsvc.cli import main

sys.exit(main())
