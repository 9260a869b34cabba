"""One table more or less in the text of a pipeline's file. Everything else of it, comments too, stays as it is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cdc_pipelines.replication.errors import PipelineFileError
from cdc_pipelines.replication.lanes.requests import with_table, without_table
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline

_COMMA_BEFORE, _COMMA_AFTER = re.compile(r",\s*\Z"), re.compile(r"\A\s*,[ \t]*")


def text_with(text: str, file: Path, name: str, target: str | None) -> str | None:
    """The text of `file` with table `name` in it, under `target` on the target. None where we can't tell how."""
    return _changed(text, file, with_table(parse_pipeline(text, file), name, target), lambda: _with(text, name, target))


def text_without(text: str, file: Path, name: str) -> str | None:
    """The text of `file` without table `name`. None where we can't tell how."""
    return _changed(text, file, without_table(parse_pipeline(text, file), name), lambda: _without(text, name))


def _changed(text: str, file: Path, wanted: Pipeline, edit: Any) -> str | None:
    """What `edit` makes of the text, if it declares the pipeline that is wanted: we read what we wrote."""
    if parse_pipeline(text, file) == wanted:
        return text
    try:
        edited: str | None = edit()
        return edited if edited is not None and parse_pipeline(edited, file) == wanted else None
    except (PipelineFileError, yaml.YAMLError, StopIteration):
        return None


def _with(text: str, name: str, target: str | None) -> str | None:
    tables, exclude = _value(text, "tables"), _value(text, "exclude")
    if isinstance(tables, yaml.SequenceNode):
        return _append(text, tables, {"source": name} | ({"target": target} if target else {}))
    return _drop(text, exclude, name) if isinstance(exclude, yaml.SequenceNode) else None


def _without(text: str, name: str) -> str | None:
    tables, exclude = _value(text, "tables"), _value(text, "exclude")
    if isinstance(tables, yaml.SequenceNode):
        return _drop(text, tables, name)
    if isinstance(exclude, yaml.SequenceNode):
        return _append(text, exclude, name)
    end = text.find("\n", tables.end_mark.index) if tables is not None else -1
    if tables is None or tables.start_mark.line != tables.end_mark.line:
        return None
    head, tail = (text + "\n", "") if end < 0 else (text[: end + 1], text[end + 1 :])
    return f"{head}exclude: {_dumped([name])}\n{tail}"


def _value(text: str, key: str) -> yaml.Node | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # it was parsed as a pipeline
    return next((value for name, value in root.value if name.value == key), None)


def _append(text: str, items: yaml.SequenceNode, item: Any) -> str | None:
    if items.flow_style:
        close = items.end_mark.index - 1
        return f"{text[:close].rstrip()}{', ' if items.value else ''}{_dumped(item)}{text[close:]}"
    line = _line_start(text, items.value[-1])
    indent = re.match(r"\s*(?=-\s)", text[line:])
    if indent is None:
        return None
    end = text.find("\n", _end(items.value[-1]))
    head, tail = (text + "\n", "") if end < 0 else (text[: end + 1], text[end + 1 :])
    return f"{head}{indent.group()}- {_dumped(item)}\n{tail}"


def _drop(text: str, items: yaml.SequenceNode, name: str) -> str | None:
    item = next(each for each in items.value if _names(each) == name)
    if items.flow_style:
        before, after = text[: item.start_mark.index], text[item.end_mark.index :]
        if _COMMA_BEFORE.search(before):
            return _COMMA_BEFORE.sub("", before) + after
        return before + _COMMA_AFTER.sub("", after)
    end = text.find("\n", _end(item))
    if len(items.value) == 1:  # a key without anything would mean something else
        return text[: items.start_mark.index] + f"[]{text[end:] if end >= 0 else ''}"
    return text[: _line_start(text, item)] + (text[end + 1 :] if end >= 0 else "")


def _names(item: yaml.Node) -> str | None:
    """The table that an item is about."""
    if isinstance(item, yaml.MappingNode):
        return next((str(value.value) for key, value in item.value if key.value == "source"), None)
    return str(item.value)


def _end(node: yaml.Node) -> int:
    """Where it ends: that of a block is told as the place of what follows it, comments passed over."""
    return max((leaf.end_mark.index for leaf in _leaves(node)), default=node.start_mark.index)


def _leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    flow = getattr(node, "flow_style", True)
    children = node.value if isinstance(node, yaml.SequenceNode) else [e for pair in node.value for e in pair] if (
        isinstance(node, yaml.MappingNode)) else []
    if flow or not children:
        yield node
    else:
        for child in children:
            yield from _leaves(child)


def _line_start(text: str, node: yaml.Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _dumped(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
