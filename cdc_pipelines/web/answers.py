"""What leaves: JSON in which every secret that this process knows is masked, whichever way it came there."""

import json
from typing import Any

from starlette.responses import JSONResponse

from cdc_pipelines.replication.secrets import redact


def masked(value: Any) -> Any:
    """The value with secrets masked in all of its texts, keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {masked(key): masked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return value


class Masked(JSONResponse):
    """JSON; text that is no valid Unicode (a table's name may be anything) is escaped."""

    def render(self, content: Any) -> bytes:
        return json.dumps(masked(content), allow_nan=False, separators=(",", ":")).encode("ascii")
