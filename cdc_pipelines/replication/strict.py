"""What all sections of a pipeline's file share: unknown keys are refused, secrets are references."""

import re

from pydantic import BaseModel, ConfigDict

from cdc_pipelines.replication import secrets


class Strict(BaseModel):
    """Unknown keys are refused: a misspelt option must not be an ignored one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def require_reference(value: str, field: str) -> str:
    """The value if it is one reference; else a ValueError that never repeats the literal."""
    if not secrets.is_reference(value) or re.search(r":-", value):
        raise ValueError(
            f"{field} must be a reference, ${{env:NAME}} or ${{file:/path}}; "
            "a secret written into the file would end up in version control, logs and the control store"
        )
    return value
