"""What pipelines' files say shall happen at set times: a Dagster schedule for each, which keeps out of others' way."""
