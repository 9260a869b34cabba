"""The jobs: configure, discover, start, stop, restart, tear down, verify. Thin ops over `replication.operations`."""
