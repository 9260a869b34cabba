"""Changes between the log that tells them and the target that takes them: rows, batches, and what to ask of values."""
