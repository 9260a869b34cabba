"""The replicated tables as Dagster assets, partitioned by the chunks they are copied in, and their sources."""
