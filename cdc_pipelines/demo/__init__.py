"""The demo: a realistic shop database, a writer that keeps changing it, and the run that shows a pipeline at work.

`shop` and `writer` are used by the tests too.
"""
