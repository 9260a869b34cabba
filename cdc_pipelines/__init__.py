"""Keep tables of one database continuously equal to tables of another, run from Dagster."""
