"""Breaks of shapes: values that must not be seen, and shaped values that must be the same on every way."""

from tests.mutants.mutant import NOT_SILENT, PROOF, QUOTING, SECRETS, Mutant

_SHAPE = "unit/test_column_shapes.py::"
_CHANGES = "unit/test_shaped_schema_changes.py::"
_SQL = "integration/test_column_shapes.py::"
_REAL = "e2e/test_column_shapes.py::"
_SHAPING = "replication/values/shaping.py"
_ALTERATION = "replication/stream/alteration.py"

MUTANTS = [
    Mutant(
        "a dead letter holds values in clear", SECRETS, "replication/stream/refusal.py",
        'image if image is None or event.op == "s" else codec.disguise(image)',
        "image",
        (_SHAPE + "test_a_dead_letter_and_its_message_hold_shaped_values_only",),
    ),
    Mutant(
        "the bounds of chunks are hidden keys in clear", SECRETS, "replication/copy/plan.py",
        "[KeyRange(())] if table.hides_key else walk(session, table, rows, max_chunks)",
        "walk(session, table, rows, max_chunks)",
        (_SHAPE + "test_keys_that_are_no_integers_on_the_target_are_not_cut_by_ranges",),
    ),
    Mutant(
        "a column made again comes in clear", SECRETS, _ALTERATION,
        "            if name.lower() in self.table.shaped and not column.shape.changes:\n",
        "            if False:\n",
        (_CHANGES + "test_nothing_comes_in_clear_by_a_schema_change",),
    ),
    Mutant(
        "a shaped column that is renamed loses its shape", SECRETS, _ALTERATION,
        "return MappedColumn(source, name, before.target_type, before.rules, before.shape)",
        "return MappedColumn(source, name, before.target_type, before.rules)",
        (_CHANGES + "test_a_shaped_column_is_followed_where_its_values_stay",),
    ),
    Mutant(
        "a key in the file is told in its mistake", SECRETS, "replication/pipeline_file.py",
        '    if location[:1] == ["shape"] and',
        "    if False and",
        (_SHAPE + "test_a_key_in_the_file_is_refused_and_not_repeated",),
    ),
    Mutant(
        "hashes are made with whatever key is there", PROOF, "replication/values/hashing.py",
        "    if not hmac.compare_digest(_check(key), check):\n",
        "    if False:\n",
        (_SHAPE + "test_a_key_must_be_there_and_long_and_the_same",),
    ),
    Mutant(
        "a long key is cut instead of hashed", PROOF, "replication/values/hashing.py",
        "(hashlib.sha256(key).digest() if len(key) > _BLOCK else key)",
        "key[:_BLOCK]",
        (_SQL + "test_any_value_is_hashed_masked_and_cut_alike",),
    ),
    Mutant(
        "texts are hashed in the column's character set", PROOF, "replication/values/shaping.py",
        'return f"concat({base.source_canonical})" if case.column.type in INTEGERS else base.source_canonical',
        'return f"concat({base.source_canonical})" if case.column.type in INTEGERS else "{c}"',
        (_SQL + "test_any_value_is_hashed_masked_and_cut_alike",),
    ),
    Mutant(
        "a short value shows all that a mask keeps", SECRETS, _SHAPING,
        "        if hidden <= 0:\n",
        "        if hidden < 0:\n",
        (_SHAPE + "test_shaped_texts",),
    ),
    Mutant(
        "a hashed key is cut by its ranges", PROOF, "replication/databases/mysql/ranges.py",
        "    return not column.shape.changes or column.target_type in _TARGET_INTEGERS\n",
        "    return True\n",
        (_SHAPE + "test_keys_that_are_no_integers_on_the_target_are_not_cut_by_ranges",),
    ),
    Mutant(
        "a key of the source may be masked", NOT_SILENT, "replication/table_mapping.py",
        "elif name in table.key and not shaped.shape().keeps_apart:",
        "elif False:",
        (_SHAPE + "test_what_does_not_fit_the_table_is_told_with_what_would",),
    ),
    Mutant(
        "any type may be asked for", QUOTING, "replication/values/retyping.py",
        "        if _written(wanted) == base.target_type:\n",
        "        if True:\n",
        (_SHAPE + "test_what_does_not_fit_the_table_is_told_with_what_would",),
    ),
    Mutant(
        "a keyless row is looked for by what we added", NOT_SILENT, "replication/databases/postgres/apply.py",
        "self._codec.texts(before)[: self._told]",
        "self._codec.texts(before)",
        (_REAL + "test_copied_and_streamed_values_are_shaped_alike",),
    ),
    Mutant(
        "another shape is no other mapping", PROOF, "replication/operations/mapping.py",
        "        if _is_shaped_otherwise(a, b):\n",
        "        if False:\n",
        (_SHAPE + "test_changes_of_a_shape_are_told_with_their_effect",),
    ),
]
