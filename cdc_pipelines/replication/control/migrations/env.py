"""Alembic's entry: runs the migrations on the connection, and in the transaction, of `schema.ensure_schema`."""

from alembic import context

from cdc_pipelines.replication.control import models

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.metadata,
    version_table=models.VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
