"""Price series: read from a file, made into windows to train on, and scored.

``files`` reads a series, with ``table`` for its rows and columns and ``dates`` for its days; ``windows`` has the rest.
"""
