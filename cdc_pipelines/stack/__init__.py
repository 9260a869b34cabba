"""The local stack: real MySQL, MariaDB, PostgreSQL, Kafka and Kafka Connect as ordinary processes.

Everything lives below one folder (see `layout`), every fact about it in one file (see `settings`),
so that tests, the demo and a developer's shell all talk to the same servers.
"""
