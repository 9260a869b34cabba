"""Indexes, foreign keys, checks, comments, identities: made as the source has them, never in the stream's way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import postgres_connection, unique_name
from tests.e2e.conftest import Pipe, edit

SCHEMA = (
    "create table country (id smallint unsigned primary key auto_increment, name varchar(50) not null, "
    "unique key name (name)) comment 'where people live'",
    "create table city (id int primary key auto_increment, country smallint unsigned not null, name varchar(50), "
    "key by_name (name desc, country), constraint in_country foreign key (country) references country (id))",
    "create table customer (id bigint primary key auto_increment, email varchar(80) comment 'how to write them', "
    "city int, balance decimal(9,2) not null default 0, kind enum('new','old') not null default 'new', note text, "
    "referrer bigint, unique key email (email), key by_kind (kind, balance), key lowered ((lower(email))), "
    "key noted (note(20)), fulltext key words (note), key referrer (referrer), "
    "constraint lives foreign key (city) references city (id), "
    "constraint referred foreign key (referrer) references customer (id), "
    "constraint in_credit check (balance >= 0 and balance < 100000), constraint kinds check (kind in ('new','old')), "
    "constraint lettered check (email like '%@%'))",
    "create table loose (a int, b int, key ab (a, b))",
    "insert into country (name) with recursive n(i) as (select 1 union all select i + 1 from n where i < 40) "
    "select concat('C', i) from n",
    "insert into city (country, name) select id, concat('Town ', id) from country",
    "insert into customer (email, city, balance) with recursive n(i) as (select 1 union all select i + 1 from n "
    "where i < 900) select concat('c', i, '@x.org'), 1 + i % 40, i from n",
    "insert into loose select id, city from customer",
)
ALL = dict.fromkeys(("indexes", "foreign_keys", "checks", "comments", "identity"), True)


@pytest.fixture
def target_user(stack: StackSettings, tmp_path: Path) -> Iterator[dict[str, str]]:
    """User and password of one on the target who may let foreign keys rest; the usual one may do what this one may."""
    name = unique_name("carrier")
    (tmp_path / "secret").write_text("carried")
    with postgres_connection(stack.postgres, stack.postgres_target_database, admin=True) as admin:
        admin.execute(f"create role {name} login password 'carried'")
        admin.execute(f"grant set on parameter session_replication_role to {name}")
        admin.execute(f"grant {name} to cdc")
        yield {"user": name, "password": f"${{file:{tmp_path}/secret}}"}
        admin.execute(f"drop owned by {name}")
        admin.execute(f"drop role {name}")


@pytest.fixture
def carrying(target_user: dict[str, str], make_pipe: Callable[..., Pipe], stack: StackSettings) -> Pipe:
    """A pipeline, not yet configured, that carries everything."""
    pipe = make_pipe(carry=ALL)
    document = yaml.safe_load(pipe.file.read_text())
    edit(pipe.file, target=document["target"] | target_user)
    with postgres_connection(stack.postgres, pipe.target.info.dbname, admin=True) as admin:
        admin.execute(f"grant create on database {pipe.target.info.dbname} to {target_user['user']}")
        admin.execute(f"grant create on schema public to {target_user['user']}")
    pipe.run(*SCHEMA)
    return pipe


def plan(pipe: Pipe, query: str) -> str:
    return "\n".join(row[0] for row in pipe.rows(f"explain {query}"))


def missing(pipe: Pipe) -> dict[str, str]:
    """What is not there, with the reason, as the status tells it."""
    carried = pipe.status()["carried"]
    return {f"{each['table']}.{each['name']}": each["why"] for each in carried["not_made"]}


def test_what_a_table_has_beside_its_rows_comes_along(carrying: Pipe) -> None:
    pipe, target = carrying, carrying.target
    pipe.configure()
    carried = pipe.start()["carried"]
    assert carried["there"] == {"index": 9, "check": 2, "foreign_key": 3, "identity": 3, "comment": 2}, carried
    assert {each["what"]: each["why"] for each in carried["not_made"]} == {
        "index customer.words": "it is FULLTEXT, which PostgreSQL has no equal of",
        "index customer.noted": "it is over the first 20 characters of note, where PostgreSQL would find nothing by "
        "the whole value",
        "check customer.lettered": "it is no simple comparison: `email` LIKE '%@%'",
    }
    shown = pipe.ok("status").stdout
    assert "carried: 2 check, 2 comment, 3 foreign key, 3 identity, 9 index; 3 not" in shown
    assert "not index customer.words: it is FULLTEXT" in shown
    assert "customer_email" in plan(pipe, "select * from customer where email = 'c7@x.org'")
    assert "customer_lowered" in plan(pipe, "select * from customer where lower(email) = 'c7@x.org'")
    assert pipe.rows("select obj_description('country'::regclass), col_description('customer'::regclass, 2)") == [
        ("where people live", "how to write them")
    ]

    # Children before parents, parents before children, unique values that change places, one by one and many at once.
    pipe.run(
        "set foreign_key_checks = 0", "begin", "insert into customer (id, email, city) values (5000, 'n@x.org', 500)",
        "insert into city values (500, 90, 'Newtown')", "insert into country values (90, 'Newland')", "commit",
        "set foreign_key_checks = 1",
        "begin", "insert into customer (id, email, referrer) values (5001, 'm@x.org', 5000)",
        "update customer set referrer = null where id = 5001", "delete from customer where id = 5000",
        "delete from city where id = 500", "delete from country where id = 90", "commit",
        "update customer set referrer = 1 where id = 10",
        "begin", "update customer set email = 'aside@' where id = 1", "update customer set email = 'c1@x.org' "
        "where id = 2", "update customer set email = 'c2@x.org' where id = 1", "commit",
        "begin", "update customer set email = concat('t@', id) where id <= 900",
        "update customer set email = concat('c', 901 - id, '@x.org') where id <= 900", "commit",
    )  # fmt: skip
    pipe.arrives("select email from customer where id in (1, 899, 5001) order by id",
                 [("c900@x.org",), ("c2@x.org",), ("m@x.org",)])
    pipe.equal()
    assert pipe.status()["problems"] == []

    # What the source gave up, its rows may break: the stream goes on, and so does everything else.
    pipe.run(
        "alter table customer drop check in_credit, drop key email, drop foreign key lives",
        "update customer set balance = -5, email = 'twice@', city = 12345 where id in (3, 4)",
        "update country set name = 'Elsewhere' where id = 1",
    )
    pipe.arrives("select count(*) from customer where email = 'twice@' and balance < 0", [(2,)])
    pipe.arrives("select name from country where id = 1", [("Elsewhere",)])
    assert "does not fit" in missing(pipe)["customer.email"]
    assert "does not fit" in missing(pipe)["customer.in_credit"]
    assert (pipe.status()["overall"], pipe.rows("select state from _cdc.dead_letter")) == ("healthy", [])

    # Copied again beside the stream, with what hangs on it; and made anew where it is missing.
    pipe.run("alter table city add key late (name, id)", "alter table loose add unique key one (a)")
    target.execute("drop index customer_by_kind")
    target.execute("update country set name = 'by hand' where id = 2")  # it has children
    pipe.ok("resync", "--table", "country", "--table", "loose")
    valid = "select indisunique and indisvalid from pg_index where indexrelid in {}"
    assert pipe.rows(valid.format("('loose_one'::regclass, 'country_name'::regclass)")) == [(True,)] * 2
    done = pipe.ok("carry", "--json").json
    assert sorted(done["made"]) == ["index city.late", "index customer.by_kind"]
    assert done["dropped"] == ["foreign key customer.lives"]
    pipe.run("begin", "update loose set a = a + 10000", "update loose set a = 901 - (a - 10000)", "commit",
             "insert into customer (email) values ('last@x.org')")  # fmt: skip
    pipe.arrives("select b from loose where a = 900", [(2,)])
    pipe.equal()

    # Who takes the target over finds keys that are free, and constraints that hold.
    pipe.ok("stop")
    pipe.ok("teardown", "--yes")
    largest = pipe.rows("select max(id) from customer")[0][0]
    insert = "insert into customer (email, balance, kind) values ('own@x.org', 1, 'old') returning id"
    assert pipe.rows(insert) == [(largest + 1,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        target.execute("update customer set referrer = 777777 where id = 1")
    with pytest.raises(psycopg.errors.CheckViolation):
        target.execute("update customer set kind = 'odd' where id = 1")
