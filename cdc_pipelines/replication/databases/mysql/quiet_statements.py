"""Statements of the source's log that change no table's columns and none of its rows.

The connector passes them by unread (stream/ddl_filter.py), so nothing in the change log tells of them; where they come
last, the source's log tells that nothing is missing (log_stretch.py).
"""

# Regular expressions that are the same in Java and in Python. Each must match the whole statement; case does not count,
# a dot matches line ends.
_BEGIN = r"^(?:/\*.*?\*/\s*)*(?:SET\s+STATEMENT\s+.*?\s+FOR\s+)?"
_MADE = r"(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?"

QUIET = (
    _BEGIN + r"(?:GRANT|REVOKE)\s+.*",
    _BEGIN + r"(?:ANALYZE|OPTIMIZE|REPAIR)\s+(?:NO_WRITE_TO_BINLOG\s+|LOCAL\s+)?TABLES?\s+.*",
    _BEGIN + _MADE + r"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:USER|ROLE)\b.*",
    # On what these change only tables that are made later depend; the consumer looks at those (`charsets_now`).
    _BEGIN + r"ALTER\s+(?:DATABASE|SCHEMA)\s+"
    r"(?:DEFAULT\s|CHARACTER\s|CHARSET\b|COLLATE\b|ENCRYPTION\b|READ\s|COMMENT\b).*",
    _BEGIN + r"ALTER\s+(?:DATABASE|SCHEMA)\s.*\bCOMMENT\b.*",
    _BEGIN + _MADE + r"(?:ALGORITHM\s*=\s*\w+\s+)?(?:DEFINER\s*=.*?\s+)?(?:SQL\s+SECURITY\s+\w+\s+)?(?:AGGREGATE\s+)?"
    r"(?:JSON\s+(?:RELATIONAL\s+)?DUALITY\s+)?(?:VIEW|FUNCTION|PROCEDURE|TRIGGER|EVENT|PACKAGE|LIBRARY|SEQUENCE|SERVER|"
    r"INSTANCE|SPATIAL\s+REFERENCE|RESOURCE\s+GROUP|LOGFILE\s+GROUP|(?:UNDO\s+)?TABLESPACE)\s.*",
    # These two have no other action beside
    _BEGIN + r"ALTER\s+TABLE\s+\S+\s+ADD\s+PARTITION\s+PARTITIONS\s+\d+\s*;?\s*",
    _BEGIN + r"ALTER\s+TABLE\s+\S+\s+ORDER\s+BY\s+[^()'\"]*",
)
