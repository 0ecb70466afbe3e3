"""Price series: read from a file (``files``), made into windows to train on and scored (``windows``)."""
