"""``check``: run both sides, compare everything, find the place and the mistake, and say what was judged."""

# The files that other rooms may import.
DOORS = ["check"]
