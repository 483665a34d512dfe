"""Parts of `examples/sharding_report.py`."""
