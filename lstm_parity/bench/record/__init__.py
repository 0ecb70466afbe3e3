"""What came out: kept as JSON, checked when it is read, shown as tables and pictures."""
