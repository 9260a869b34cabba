"""Shaped columns on a real pipeline: copied, streamed, compared, repaired, copied again, and never in clear."""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.conftest import Pipe, edit, wait_until

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "Geheimnis"  # in every text that the target must not see
SCHEMA = (
    "create table customer (id int unsigned primary key, email varchar(60), ssn varchar(20), phone varchar(20), "
    "notes text, price decimal(10,2), born date, doc json, ref binary(16), plain varchar(20))",
    "create table account (mail varchar(60) primary key, n int)",
    "create table code (n int primary key, t varchar(9))",
    "create table visit (who varchar(40), n int)",
    f"insert into customer values (1, 'a@{SECRET}', '12-{SECRET}', '{SECRET}34', repeat('x', 300), 1.50, '2000-02-03', "
    "'{\"a\": 1}', x'00112233445566778899aabbccddeeff', 'Klar')",
    "insert into customer (id) values (2)",
    f"insert into account values ('first@{SECRET}', 1), ('second@{SECRET}', 2), ('{SECRET}-third', 3)",
    "insert into code values (5, 'a'), (10, 'b'), (2000000000, 'c')",
    f"insert into visit values ('{SECRET} 1', 1), ('{SECRET} 1', 1), ('{SECRET} 2', 2)",
)
HMAC = {"hash": "hmac_sha256", "key": "${env:CDC_TEST_PII_KEY}"}
ADD = {
    "_system": {"value": "shop"}, "_pipeline": {"from": "pipeline"}, "_op": {"from": "operation"},
    "_committed_at": {"from": "commit_time"}, "_position": {"from": "position"}, "_tenant": {"value": 7},
}
SHAPE: dict[str, Any] = {
    "customer": {
        "columns": {
            "email": {"hash": "sha256"}, "ssn": HMAC, "phone": {"mask": {"keep_last": 2}}, "notes": {"truncate": 200},
            "price": {"type": "numeric(20,6)"}, "born": {"type": "text"}, "doc": {"type": "json"},
            "ref": {"type": "uuid"}, "id": {"type": "numeric(12)"},
        },
        "add": ADD,
    },
    "account": {"columns": {"mail": HMAC}, "add": {"_op": {"from": "operation"}}},
    "code": {"columns": {"n": {"hash": "sha256"}}},
    "visit": {"columns": {"who": {"hash": "sha256"}}, "add": ADD},
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def keyed(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), "sha256").hexdigest()


@pytest.fixture(autouse=True, scope="module")
def key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDC_TEST_PII_KEY", KEY)
        yield


def begin(pipe: Pipe) -> None:
    edit(pipe.file, shape=SHAPE)
    pipe.run(*SCHEMA)
    pipe.configure()
    pipe.start()


@pytest.fixture
def shaped(keep_pipe: Callable[..., Pipe]) -> Pipe:
    return keep_pipe(begin)


def everything(pipe: Pipe) -> str:
    """All that stands on the target, state and dead letters included."""
    tables = pipe.rows(
        "select format('%I.%I', table_schema, table_name) from information_schema.tables "
        "where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"
    )
    return "\n".join(str(pipe.rows(f"select t::text from {name} t")) for (name,) in tables)


def nothing_in_clear(pipe: Pipe) -> None:
    seen = everything(pipe)
    assert "Klar" in seen
    assert SECRET not in seen
    assert KEY not in seen


def test_copied_and_streamed_values_are_shaped_alike(shaped: Pipe) -> None:
    columns = "email, ssn, phone, notes, price::text, born, doc::jsonb::text, ref::text"
    seen = f"select {columns} from customer where id = %d"
    expected = (
        sha256(f"a@{SECRET}"), keyed(f"12-{SECRET}"), "*" * len(SECRET) + "34", "x" * 200, "1.500000", "2000-02-03",
        '{"a": 1}', "00112233-4455-6677-8899-aabbccddeeff",
    )
    assert shaped.rows(seen % 1) == [expected]
    assert shaped.rows(seen % 2) == [(None,) * 8]
    assert sorted(shaped.rows("select mail, n from account")) == sorted(
        [(keyed(f"first@{SECRET}"), 1), (keyed(f"second@{SECRET}"), 2), (keyed(f"{SECRET}-third"), 3)]
    )
    added = "select _system, _pipeline, _op, _tenant from {}"
    assert set(shaped.rows(added.format("customer"))) == {("shop", shaped.name, "r", 7)}
    times = shaped.rows("select _committed_at, _position from customer")
    assert all(datetime.now(UTC) - at < timedelta(minutes=10) and ":" in place for at, place in times)
    nothing_in_clear(shaped)
    shaped.equal()

    shaped.run(
        "insert into customer select 3, email, ssn, phone, notes, price, born, doc, ref, plain from customer "
        "where id = 1",
        f"update customer set email = 'new@{SECRET}', phone = '12' where id = 2",
        f"update account set mail = concat('changed ', mail) where mail = 'first@{SECRET}'",
        f"update account set n = 22 where mail = 'second@{SECRET}'",
        f"delete from account where mail = '{SECRET}-third'",
        "update code set n = n + 1 where n = 10", "delete from code where n = 5",
        "update code set t = 'd' where n = 11",
        f"update visit set n = 5 where who = '{SECRET} 1' limit 1", f"delete from visit where who = '{SECRET} 2'",
        f"insert into visit values ('{SECRET} 3', 3)",
        f"insert into account with recursive n(i) as (select 1 union all select i + 1 from n where i < 120) "
        f"select concat('{SECRET} ', i), i from n",
        "insert into code values (77, 'end')",
    )
    shaped.arrives("select t from code where t = 'end'", [("end",)])
    assert shaped.rows(seen % 3) == [expected], "as it was copied"
    assert shaped.rows("select email, phone, _op from customer where id = 2") == [(sha256(f"new@{SECRET}"), "**", "u")]
    accounts = {mail: (n, op) for mail, n, op in shaped.rows("select mail, n, _op from account")}
    assert accounts[keyed(f"changed first@{SECRET}")] == (1, "c")
    assert accounts[keyed(f"second@{SECRET}")] == (22, "u")
    assert accounts[keyed(f"{SECRET} 120")] == (120, "c")
    assert len(accounts) == 122
    assert sorted(shaped.rows("select n, t from code")) == sorted(
        [(sha256("11"), "d"), (sha256("2000000000"), "c"), (sha256("77"), "end")]
    )
    assert sorted(shaped.rows("select who, n, _op from visit")) == sorted(
        [(sha256(f"{SECRET} 1"), 1, "r"), (sha256(f"{SECRET} 1"), 5, "u"), (sha256(f"{SECRET} 3"), 3, "c")]
    )
    ((at, place),) = shaped.rows("select _committed_at, _position from customer where id = 3")
    assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=5)
    ((uuid,),) = shaped.source_rows("select @@server_uuid")
    assert place.startswith(f"{uuid}:")
    shaped.equal()
    nothing_in_clear(shaped)


def test_a_planted_difference_is_found_named_and_repaired(shaped: Pipe) -> None:
    shaped.target.execute("update customer set phone = '*******99', _op = 'x' where id = 1")
    shaped.target.execute("update account set n = -1 where mail = '" + keyed(f"second@{SECRET}") + "'")
    shaped.target.execute(f"delete from code where n = '{sha256('11')}'")
    found = shaped.cdc("verify", shaped.name, "--json")
    assert found.code == 3, found.stderr
    tables = {t["table"]: t["differences"] for t in found.json["tables"]}
    assert [(d["kind"], d["columns"]) for d in tables["customer"]] == [("differs", ["phone"])]
    assert [d["key"] for d in tables["account"]] == [{"mail": keyed(f"second@{SECRET}")}]
    assert [d["key"] for d in tables["code"]] == [{"n": sha256("11")}]
    assert SECRET not in found.stdout + found.stderr

    repaired = shaped.cdc("verify", shaped.name, "--repair", "--json")

    assert repaired.code == 0, repaired.stderr
    assert shaped.rows("select _op, _tenant from customer where id = 1") == [("r", 7)]
    shaped.equal()


def test_another_key_under_the_same_reference_is_refused(shaped: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TEST_PII_KEY", KEY[::-1])
    found = shaped.cdc("verify", shaped.name)
    assert found.code not in (0, 3)
    assert "holds another key than the one that the target's values were hashed with" in " ".join(found.stderr.split())
    assert KEY[::-1] not in found.stderr


def test_another_shape_is_copied_beside_the_stream(shaped: Pipe) -> None:
    other = {**SHAPE, "customer": {"columns": {**SHAPE["customer"]["columns"], "phone": HMAC}, "add": {
        **ADD, "_system": {"value": "other"}}}}
    edit(shaped.file, shape=other)
    plan = shaped.cdc("configure", shaped.file, "--plan")
    assert plan.code == 0, plan.stderr
    told = " ".join(plan.stdout.split())
    assert "table customer is shaped otherwise: at the next start, beside the stream" in told
    assert "shape.customer.columns.phone.mask.keep_last: 2 → unset" in told
    assert KEY not in plan.stdout
    shaped.configure()

    shaped.start()

    assert shaped.rows("select phone, _system from customer where id = 1") == [(keyed(f"{SECRET}34"), "other")]
    shaped.run("update customer set plain = 'Klar' where id = 2")
    shaped.arrives("select _op, _system from customer where id = 2", [("u", "other")])
    shaped.equal()
    nothing_in_clear(shaped)


def test_schema_changes_of_shaped_columns(shaped: Pipe) -> None:
    shaped.run(
        "alter table customer modify email varchar(200)", "alter table account change mail address varchar(60)",
        f"insert into account values ('{SECRET} later', 9)",
        f"update customer set email = repeat('{SECRET}', 20) where id = 1",
    )
    shaped.arrives("select n from account where address = '" + keyed(f"{SECRET} later") + "'", [(9,)])
    shaped.arrives("select email from customer where id = 1", [(sha256(SECRET * 20),)])

    shaped.run("alter table customer drop ssn, add ssn varchar(40)",
               f"update customer set ssn = '{SECRET}' where id = 1")

    def apart() -> dict[str, str]:
        tables = shaped.status()["tables"]
        return {t["table"]: t["detached"]["reason"] for t in tables if t["state"] == "detached"}

    wait_until(apart, "a table to be detached")
    assert "has another column ssn now, and the file shapes that name" in apart()["customer"]
    shaped.target.execute("create view seen as select id from customer")  # its rows are merged then, not swapped
    shaped.ok("resync", "--table", "customer")
    assert shaped.rows("select ssn, _op from customer where id = 1") == [(keyed(SECRET), "r")]
    shaped.equal()
    nothing_in_clear(shaped)


def test_a_dead_letter_holds_nothing_in_clear(shaped: Pipe) -> None:
    shaped.target.execute("alter table account add check (n <> 1300)")
    shaped.run(f"insert into account values ('{SECRET} refused', 1300)")
    wait_until(lambda: any(t["state"] == "detached" for t in shaped.status()["tables"]), "the quarantine")
    done = shaped.cdc("deadletters", "list", shaped.name, "--json")
    assert done.code == 0, done.stderr
    (listed,) = done.json
    assert keyed(f"{SECRET} refused") in str(listed)
    again = shaped.cdc("deadletters", "retry", shaped.name, str(listed["id"]))
    assert again.code == 3, again.stderr
    assert "check" in again.stdout + again.stderr
    assert SECRET not in done.stdout + again.stdout + again.stderr + shaped.log_tail(200)
