"""Read weight files of many kinds, and write two of them.

Other code uses ``load_save``. ``formats`` finds out the kind of a file and reads it: a new format goes there.
"""
