"""Price series: read them from a file, cut them into windows to train on, and score predictions.

``files`` reads a series, with ``table`` for its rows and columns and ``dates`` for its days. ``windows`` does the rest.
"""
