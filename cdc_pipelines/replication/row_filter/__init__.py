"""Which rows of a table are replicated: a condition of a small language, asked in SQL (copy, verify) and here (apply).

`language.py` reads the text, `binding.py` finds its columns in a table, `evaluate.py` asks it of a change's row. How a
source's SQL spells it is its dialect's: `databases/*/row_filter.py`. All of them compare a value by its canonical text
(`values.Form`), so that no collation, no time zone and no implicit conversion of a server has a say.
"""
