"""Templates: everything is escaped, and every known secret masked before it is."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.web import views
from cdc_pipelines.web.answers import masked

HERE = Path(__file__).parent
_GLYPHS = {"good": "●", "warn": "▲", "bad": "✖", "idle": "○"}  # not by colour alone
_QUOTED = re.compile("`([^`\n]+)`")


def _finish(value: Any) -> Any:
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _words(text: str) -> Markup:
    """A message: what it quotes in backquotes is shown as code."""
    return Markup(_QUOTED.sub(r"<code>\1</code>", str(escape(redact(text)))))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, finalize=_finish, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": views.duration, "size": views.size, "moment": views.moment, "number": lambda n: f"{n:,}",
        "json": lambda value: json.dumps(masked(value), ensure_ascii=False),  # its own quotes would hide a secret's
        "words": _words, "quoted": lambda text: quote(text, safe="", errors="surrogatepass"),
    }
    environment.globals |= {"glyphs": _GLYPHS, "plot_width": views.WIDTH, "plot_height": views.HEIGHT}
    return environment


_templates = _environment()


def page(name: str, code: int = 200, /, **values: Any) -> HTMLResponse:
    """A template with these values as an answer."""
    text = _templates.get_template(name).render(**values)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status_code=code)
