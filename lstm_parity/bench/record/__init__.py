"""The results: saved as JSON, checked when read, shown as tables and pictures."""
