"""``check``: run both sides, compare everything, locate and explain what differs, and report what was judged."""

# The files that other rooms may import.
DOORS = ["check"]
