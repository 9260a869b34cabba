"""Byte strings, geometries and vectors of MySQL and MariaDB in PostgreSQL."""

import struct
from binascii import a2b_base64, hexlify
from collections.abc import Callable, Sequence

import msgspec

from cdc_pipelines.replication.values.form import Case, Form

# As hex digits a large value would be null beyond max_allowed_packet, and compare unequal with itself.
_DIGEST = "encode(sha256({c}),'hex')"
GEOMETRIES = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
              "geometrycollection", "geomcollection")
_HAS_SRID = 0x20000000  # in the type of PostGIS's EWKB


def sized(case: Case) -> Form:
    """BINARY and VARBINARY: short, so the server writes the digits."""
    padded = case.column.length if case.column.type == "binary" else None
    return Form("bytea", "concat(char(92),'x',hex({c}))", str, _bytes_text(padded), "hex({c})",
                "upper(encode({c},'hex'))")


def large(case: Case) -> Form:
    """BLOBs, read as they are: as digits they would be twice as long, and null beyond max_allowed_packet."""
    return Form("bytea", "{c}", str, _bytes_text(None), "sha2({c},256)", _DIGEST, copied=_digits)


def _digits(raw: bytes) -> bytes:
    return b"\\x" + hexlify(raw)


def _bytes_text(padded: int | None) -> Callable[[str], str]:
    def text(value: str) -> str:
        raw = a2b_base64(value)
        if padded is not None:  # the binlog drops the zero bytes that pad BINARY(n)
            raw = raw.ljust(padded, b"\0")
        return "\\x" + raw.hex()

    return text


class Geometry(msgspec.Struct):
    """A geometry as an event has it."""

    wkb: str
    srid: int | None = None


def geometry(case: Case) -> Form:
    """EWKB, which PostGIS casts to geometry. The coordinates' order is the stored one: x is the longitude."""
    stored = "hex({c})"  # four bytes of SRID, then WKB, little-endian
    flagged = f"concat('01',substring({stored},11,6),'20',left({stored},8),substring({stored},19))"
    ewkb = f"unhex(if({stored} like '00000000%',substring({stored},9),{flagged}))"
    return Form("bytea", "{c}", Geometry, _geometry_text, f"sha2({ewkb},256)", _DIGEST, copied=_stored_geometry)


def _geometry_text(value: Geometry) -> str:
    return "\\x" + _ewkb(a2b_base64(value.wkb), value.srid or 0).hex()


def _stored_geometry(raw: bytes) -> bytes:
    return _digits(_ewkb(raw[4:], int.from_bytes(raw[:4], "little")))


def _ewkb(wkb: bytes, srid: int) -> bytes:
    if not srid:
        return wkb
    order = "<" if wkb[0] else ">"
    kind: int = struct.unpack_from(f"{order}I", wkb, 1)[0]
    return wkb[:1] + struct.pack(f"{order}II", kind | _HAS_SRID, srid) + wkb[5:]


def vector(case: Case) -> Form:
    """An array of the single-precision numbers that the server keeps; its own text has six digits of each."""
    number = "encode(float4send(n),'hex')"
    little = "||".join(f"substr({number},{place},2)" for place in (7, 5, 3, 1))
    numbers = "unnest({c}) with ordinality v(n,i)"
    joined = f"(select upper(string_agg({little},'' order by i)) from {numbers})"  # noqa: S608 (our own text)
    return Form("real[]", "{c}", list[float], _array, "hex({c})", joined, copied=_stored_vector)


def _array(numbers: Sequence[float]) -> str:
    return "{" + ",".join(map(repr, numbers)) + "}"


def _stored_vector(raw: bytes) -> bytes:
    return _array(struct.unpack(f"<{len(raw) // 4}f", raw)).encode()
