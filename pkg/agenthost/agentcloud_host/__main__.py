"""python <this directory> server|worker"""

import os
import sys

# Python puts this directory first on the path; a user's `import server` must
# not find ours, so the package is imported from its parent and the parent is
# taken off the path again.
here = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(here)
from agentcloud_host import launch  # noqa: E402

sys.path.pop(0)
launch.main(sys.argv[1:])
