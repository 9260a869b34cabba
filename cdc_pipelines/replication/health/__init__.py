"""How a pipeline is doing: its status, the table of problems, incidents and self-healing."""
