"""Weight files of every kind that is read, and the two that are written.

``load_save`` is what others use, ``formats`` finds out of which kind a file is and reads it: a new format goes there.
"""
