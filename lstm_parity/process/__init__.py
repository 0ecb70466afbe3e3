"""What the command is to its shell: exit codes, signals, standard streams. The lowest room: it imports no other."""

# The files that other rooms may import.
DOORS = ["exit_codes", "standard_streams", "stop_signals"]
