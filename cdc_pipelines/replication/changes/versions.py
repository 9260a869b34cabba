"""The versions of rows whose table keeps its history, as the target takes them."""

from collections.abc import Iterator

from cdc_pipelines.replication.changes.batches import SMALL, HistoryBatch, HistoryCopyBatch, Key, KeyedBatch, Row
from cdc_pipelines.replication.changes.rows import RowCodec, escaped, moment


def pack(codec: RowCodec, batch: HistoryBatch) -> HistoryBatch | HistoryCopyBatch:
    """A large batch, and one of a transaction that comes in several parts, as COPY text; a small one as it is."""
    count = sum(map(len, batch.versions.values()))
    if count <= SMALL and batch.goes_on is None and batch.went_before is None:
        return batch
    return HistoryCopyBatch(copy_lines(codec, batch), batch.goes_on, batch.went_before)


def alone(batch: KeyedBatch, at_ms: int | None) -> HistoryBatch:
    """The images of one transaction as versions."""
    return HistoryBatch({key: [(0, row)] for key, row in batch.images.items()}, {0: at_ms or 0})


def copy_lines(codec: RowCodec, batch: HistoryBatch) -> bytes:
    """Per version: the row's columns (of one that is gone only the key's), when, its place among those of its key,
    whether it is gone, and the transaction's number.
    """
    rows = [row for versions in batch.versions.values() for _, row in versions if row is not None]
    texts = iter(codec.copy_text(rows).split(b"\n"))
    times = {transaction: moment(ms).encode() for transaction, ms in batch.times.items()}
    return b"".join(
        b"%b\t%b\t%d\t%b\t%d\n" % (
            next(texts) if row is not None else _gone(codec, key), times[transaction], place,
            b"f" if row is not None else b"t", transaction,
        )
        for key, place, transaction, row in _each(batch)
    )


def _each(batch: HistoryBatch) -> Iterator[tuple[Key, int, int, Row | None]]:
    for key, versions in batch.versions.items():
        for place, (transaction, row) in enumerate(versions):
            yield key, place, transaction, row


def _gone(codec: RowCodec, key: Key) -> bytes:
    fields = [r"\N"] * len(codec.table.loaded)
    for index, text in zip(codec.key_indexes, codec.key_texts(key), strict=True):
        fields[index] = escaped(text)
    return "\t".join(fields).encode()
