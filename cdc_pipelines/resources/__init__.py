"""Dagster resources: thin shells over plain classes of `cdc_pipelines.replication`."""
