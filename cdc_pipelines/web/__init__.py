"""`cdc web`: the API and the pages, over the same engine as the command line; what acts, acts through Dagster's jobs.

    settings.py   where it listens, the token, Dagster's address; what it refuses to start with
    guard.py      what every request passes first: host, origin, size, who asks; the headers of every answer
    access.py     tokens, sessions, forged forms, failed logins
    problems.py   every error in one shape (RFC 9457)
    answers.py    what leaves, with every known secret masked
    watch.py      statuses that many may ask for, and how the lag went
    launch.py     actions: runs of Dagster's jobs
    files.py      pipelines' files, as the command line reads them
    api.py        `/cdc/…`; tables_api.py: its paths for single tables
    pages.py      the pages; table_pages.py, letters.py: of single tables, of dead letters; file_page.py: of the file
    tables.py     single tables: whom one may ask for what; members.py: taking them in and leaving them out
    runs.py       what Dagster does about a pipeline, and did last
    views.py      what they show, from a status (apart.py, carried.py: parts of it); render.py, templates/, static/: how
    setup.py      setting a pipeline up in steps; draft.py: what its forms say
    app.py        all of it together
"""
