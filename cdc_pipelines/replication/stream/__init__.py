"""From the source's log to the target: the connector and its hand-over, the change log, the consumer."""
