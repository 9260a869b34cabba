"""The agent: the one long-lived supervisor of consumers, `cdc agent`.

It does what the control store says is desired: starts consumers as processes of their own, starts dead ones
again with growing delays, ends those that shall not run. Killing it does no harm: consumers go on, and the next
agent finds them.
"""

from cdc_pipelines.agent.run import run_agent
from cdc_pipelines.replication.agent import ensure_agent

__all__ = ["ensure_agent", "run_agent"]
