"""Tests beside the campaign use pipelines as those from end to end do."""

from tests.e2e.conftest import make_pipe

__all__ = ["make_pipe"]
