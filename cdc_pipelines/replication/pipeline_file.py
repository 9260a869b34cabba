"""Loading `pipelines/<name>.yaml`: errors that name the file, the line, the path in it and what is allowed."""

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cdc_pipelines.replication.errors import PipelineFileError
from cdc_pipelines.replication.pipeline import Pipeline

_SECRET_NAME = re.compile("pass|pwd|secret|token|credential", re.IGNORECASE)  # misspelt ones too


def pipelines_dir() -> Path:
    """Where pipeline files lie: `CDC_PIPELINES_DIR`, else `pipelines` in the current folder."""
    return Path(os.environ.get("CDC_PIPELINES_DIR") or "pipelines")


def load_pipeline(path: str | Path) -> Pipeline:
    """The pipeline that a file declares. Raises PipelineFileError with every mistake in it at once."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineFileError(
            f"{file}: can't be read: {error.strerror}", "give the path of a pipeline file, e.g. pipelines/shop.yaml."
        ) from error
    return parse_pipeline(text, file)


def parse_pipeline(text: str, file: Path) -> Pipeline:
    """Like `load_pipeline`, for a text that is (or will be) that file's."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none; brackets without end
        raise PipelineFileError(f"{file}: is not YAML: {_syntax(error)}", "mend the syntax at that line.") from None
    if not isinstance(data, dict):
        raise PipelineFileError(
            f"{file}: must hold a mapping of settings, not {type(data).__name__}",
            "start from `cdc discover`, which prints a complete file.",
        )
    data.setdefault("name", file.stem)
    try:
        return Pipeline.model_validate(data)
    except ValidationError as error:
        raise PipelineFileError(
            f"{file}: the file is not right:\n" + "\n".join(_lines(error, tree)),
            "mend them; docs/pipeline.md describes every setting.",
        ) from None


def _syntax(error: Exception) -> str:
    """What is wrong, and where; never the line itself, which may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1} is not allowed in it"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "one of its values can't be read"


def _lines(error: ValidationError, tree: yaml.Node | None) -> list[str]:
    lines = []
    for mistake in error.errors(include_url=False):
        location = [part for part in mistake["loc"] if part != "list[TableChoice]" and not _is_union_tag(part)]
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".") or "(top)"
        text = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            text = "there is no such setting here"
        bad = mistake.get("input")
        if mistake["type"] == "literal_error" and isinstance(bad, list):
            continue  # "all or a list": it is a list, whose own mistakes are told
        # A refused secret must not be repeated; a missing key has its whole parent as input.
        shown = "" if _holds_secret(location, mistake["type"]) else f" (found {_short(bad)})"
        line = _line_of(tree, location)
        where = f"line {line}, " if line else ""
        lines.append(f"  {where}{path}: {text}{shown}")
    return lines


def _is_union_tag(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith(("literal[", "list[", "constrained-"))


def _holds_secret(location: list[int | str], kind: str) -> bool:
    if location[:1] == ["alerts"]:  # an address of a chat is one, wherever under `alerts` it was written
        return location[1:2] not in (["minimum"], ["remind_hours"], ["on_failed_runs"])
    if location[:1] == ["shape"] and (kind == "extra_forbidden" or location[-1:] == ["key"]):
        return True  # a key, or what was meant to be one
    named = any(_SECRET_NAME.search(str(part)) for part in location)
    return kind == "missing" or named or location[:2] == ["kafka", "client"]


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "…"


def _line_of(node: yaml.Node | None, location: list[int | str]) -> int | None:
    """The line (from 1) of the deepest node on the way to `location`."""
    line = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def json_schema() -> str:
    """The JSON Schema of a pipeline file, as editors use it."""
    schema = Pipeline.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "cdc_pipelines pipeline"
    schema["required"] = [key for key in schema.get("required", []) if key != "name"]
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
