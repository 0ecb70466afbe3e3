"""Where two sides part first: in traces of the gates, in outputs, in a gradient."""

# The files that other rooms may import.
DOORS = ["first", "outputs", "over_time", "traces"]
