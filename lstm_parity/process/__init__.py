"""How the command behaves in a shell: exit codes, signals, standard streams. The lowest room: it imports no other."""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["exit_codes", "standard_streams", "stop_signals"]
