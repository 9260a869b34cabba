"""`cdc web`: the API and the pages, over the same engine as the command line; what acts, acts through Dagster's jobs.

    settings.py   where it listens, the token, Dagster's address; what it refuses to start with
    guard.py      what every request passes first: host, origin, size, who asks; the headers of every answer
    access.py     tokens, sessions, forged forms, failed logins
    problems.py   every error in one shape (RFC 9457)
    answers.py    what leaves, with every known secret masked
    watch.py      statuses that many may ask for, and how the lag went
    launch.py     actions: runs of Dagster's jobs
    files.py      pipelines' files, as the command line reads them
    api.py        `/cdc/…`
    pages.py      the pages
    views.py      what they show, from a status; render.py, templates/, static/: how
    setup.py      setting a pipeline up in steps; draft.py: what its forms say
    app.py        all of it together
"""
