"""`python -m cdc_pipelines.cli`: how the agent starts consumers, whatever is on the PATH."""

from cdc_pipelines.cli import main

main()
