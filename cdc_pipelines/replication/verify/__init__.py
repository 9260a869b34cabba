"""Proving that both sides are equal: checksums on both servers, at one position, down to the rows that differ."""

from cdc_pipelines.replication.verify.report import Difference, TableVerified, VerifyReport
from cdc_pipelines.replication.verify.run import verify

__all__ = ["Difference", "TableVerified", "VerifyReport", "verify"]
