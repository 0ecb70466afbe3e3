"""How the command behaves in a shell: exit codes, signals, standard streams. The lowest room: it imports no other."""

# Files that other rooms may import.
DOORS = ["exit_codes", "standard_streams", "stop_signals"]
