"""Tests beside the campaign use pipelines as those from end to end do."""

from tests.e2e.conftest import keep_pipe, make_pipe

__all__ = ["keep_pipe", "make_pipe"]
