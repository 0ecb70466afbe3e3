"""The contenders. ``registry`` names them all; the other files make the programs that they run."""
