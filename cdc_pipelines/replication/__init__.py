"""The engine: everything that moves and compares data. It imports no Dagster and is usable alone."""
