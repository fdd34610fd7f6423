"""python <this directory> server|worker|replay|zygote"""

import os
import sys

# Python puts this directory first on the path; a user's `import server` must
# not find ours, so the package is imported from its parent and the parent is
# taken off the path again.
here = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(here)
# Agents write no byte-code beside their own files, but ours is everybody's.
write, sys.dont_write_bytecode = sys.dont_write_bytecode, False
from agentcloud_host import launch  # noqa: E402

sys.dont_write_bytecode = write
sys.path.pop(0)
launch.main(sys.argv[1:])
