"""The jobs: discover, configure, start, stop, restart, tear down, verify, single tables, dead letters.

Thin ops over the engine.
"""
