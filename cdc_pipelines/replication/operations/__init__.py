"""What users do with a pipeline. Each operation is a plain function that the CLI and the Dagster jobs both call."""
