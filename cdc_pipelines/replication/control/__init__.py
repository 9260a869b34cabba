"""The control store: pipelines and what is wanted of them, leases, heartbeats, agents, a diary.

A cache and a diary, not the truth: that is in the target. A store that is lost is made again by `cdc configure`
and `cdc start`.
"""
