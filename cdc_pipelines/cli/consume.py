"""`cdc consume NAME`: one consumer in this process. The agent starts it; by hand it serves debugging.

Exit codes tell the agent what to do: 0 stopped, 10 start again, 20 a person is needed, 30 something newer took over.
"""

import logging
import signal
import sys

import click

STOPPED, RETRY, NEEDS_PERSON, FENCED = 0, 10, 20, 30


@click.command()
@click.argument("name")
def consume(name: str) -> None:
    """Apply the change log of pipeline NAME to its target until stopped."""
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.errors import CdcError, FencedError, RetryableError, named
    from cdc_pipelines.replication.logs import About, setup_logging
    from cdc_pipelines.replication.operations.runtime import Runtime
    from cdc_pipelines.replication.secrets import redact
    from cdc_pipelines.replication.stream.consumer import Consumer
    from cdc_pipelines.replication.verify.background import Background

    setup_logging()
    # The applier's thread needs the interpreter only for moments, between the database's answers: the reader's, which
    # computes all the time, must not keep it for Python's default of 5 ms each time.
    sys.setswitchinterval(0.0002)
    log = About(logging.getLogger("cdc.consumer"), pipeline=name)
    store = ControlStore.open()
    record = store.get(name)
    consumer = Consumer(record, store, log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: consumer.stop.set())
    if record.spec.verify.background:
        Background(lambda: Runtime(record, store), log, consumer.stop).start()

    def place(error: CdcError | None = None) -> dict[str, str | None]:
        """Which table it ends for, where it is one, and up to where the target has its changes."""
        return {"table": getattr(error, "table", None), "position": consumer.position}

    try:
        consumer.run()
    except FencedError as error:
        log.warning("%s", error, extra=place())
        consumer.pulse.end("stopped", error.message)
        sys.exit(FENCED)
    except RetryableError as error:
        log.warning("%s", error, extra=place())
        consumer.pulse.end("failed", error.message)
        sys.exit(RETRY)
    except CdcError as error:
        log.error("%s", error, extra=place(error))
        text = named(str(error), name)
        consumer.pulse.end("failed", text)
        store.set_status(name, "failed", message=redact(text), if_revision=record.desired_revision)
        sys.exit(NEEDS_PERSON)
    except Exception as error:
        log.exception("consumer of %s ends on an unexpected error", name, extra=place())
        consumer.pulse.end("failed", f"{type(error).__name__}: {error}")
        sys.exit(RETRY)
    consumer.pulse.end("stopped")
    log.info("consumer of %s stopped", name, extra=place())
    sys.exit(STOPPED)
