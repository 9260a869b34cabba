"""Privileges from what SHOW GRANTS prints on both servers."""

import pytest

from cdc_pipelines.replication.databases.mysql.grants import Grants

STACK = [
    "GRANT SELECT, RELOAD, SHOW DATABASES, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `cdc`@`%`",
]
MARIADB = [
    "GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `cdc`@`%` IDENTIFIED BY PASSWORD '*9E8AA8C9D0215'",
]


def test_on_the_server_means_everywhere() -> None:
    grants = Grants(STACK)
    assert grants.has("REPLICATION SLAVE")
    assert grants.has("LOCK TABLES", "shop", "orders")
    assert grants.has("BINLOG MONITOR"), "MySQL's name for it is REPLICATION CLIENT"
    assert not grants.has("SUPER")
    assert Grants(MARIADB).has("REPLICATION CLIENT")
    assert not Grants(MARIADB).has("LOCK TABLES", "shop", "orders")


def test_on_a_schema_is_not_on_the_server() -> None:
    grants = Grants(["GRANT SELECT, LOCK TABLES ON `shop`.* TO `u`@`h`"])
    assert grants.has("LOCK TABLES", "shop", "orders")
    assert not grants.has("LOCK TABLES", "shop2", "orders")
    assert not grants.has("LOCK TABLES")


@pytest.mark.parametrize(
    ("granted", "schema", "held"),
    [
        ("shop\\_%", "shop_1", True), ("shop\\_%", "shopx1", False), ("shop%", "shop", True), ("sh_p", "shxp", True),
        ("sh_p", "shoop", False), ("a``b", "a`b", True), ("a.b", "axb", False),
    ],
)
def test_a_schema_in_a_grant_is_a_pattern(granted: str, schema: str, held: bool) -> None:
    assert Grants([f"GRANT SELECT ON `{granted}`.* TO `u`@`h`"]).has("SELECT", schema, "t") is held


def test_on_a_table_and_on_columns() -> None:
    grants = Grants(["GRANT SELECT (`id`, `ON x`), INSERT ON `shop`.`orders` TO `u`@`h`"])
    assert grants.has("INSERT", "shop", "orders")
    assert not grants.has("INSERT", "shop", "items")
    assert not grants.has("SELECT", "shop", "orders"), "only on some columns"


def test_all_privileges_and_lines_of_other_kinds() -> None:
    grants = Grants([
        "GRANT USAGE ON *.* TO `u`@`h`", "GRANT `role`@`%` TO `u`@`h`", "GRANT PROXY ON ''@'' TO 'root'@'localhost'",
        "GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`h` WITH GRANT OPTION", "SET DEFAULT ROLE x FOR `u`@`h`",
    ])
    assert grants.has("LOCK TABLES", "shop", "t")
    assert not grants.has("REPLICATION SLAVE")
    assert Grants(["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"]).has("REPLICATION SLAVE")
