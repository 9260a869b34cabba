"""Metrics: what a consumer measures of itself, and all pipelines in Prometheus's form (`collector`)."""
