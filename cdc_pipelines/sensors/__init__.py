"""What the Dagster daemon looks at by itself, again and again."""
