"""Makes what tests share importable: test folders are not packages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
