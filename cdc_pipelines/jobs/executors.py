"""How steps run.

Measured on 2 cores, a run of ten trivial steps: 31 s with a fresh process per step (Dagster's default), 18 s when
forked from a server that holds the definitions, 7 s when that server also holds what Dagster imports late, which
`preload` does. Of the 7 s the first 3 s start the server; then a step costs 0.3 s.

Only `start_replication` has steps that gain from processes of their own: its copies are bound by CPU. Everything
else is one step, which runs fastest where the run already is.
"""

import dagster as dg

PRELOAD = ["cdc_pipelines.definitions", "cdc_pipelines.jobs.preload"]

one_process = dg.in_process_executor
