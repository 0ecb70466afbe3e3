"""``check``: run both sides, compare everything, locate and explain what differs, and report what was judged."""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["check"]
