"""Schema changes and rows around them, as other projects' test suites and tools make them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """`before` stands on the source when the copy is made; `burst` runs in one go while the stream is at work.

    `flavors`: where it can run.
    """

    name: str
    before: tuple[str, ...]
    burst: tuple[str, ...]
    flavors: tuple[str, ...] = ("mysql", "mariadb")

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(s.split()[2].strip("`") for s in self.before if s.startswith("create table"))


T = "create table {t} (id int primary key, a varchar(10), n int not null default 3)"
ROWS = "insert into {t} values (1, 'a', 1), (2, null, 2)"


def _case(name: str, *burst: str, table: str = T, rows: str = ROWS, flavors: tuple[str, ...] = ("mysql", "mariadb")) -> Case:
    return Case(name, tuple(s.format(t=name) for s in (table, rows)), tuple(s.format(t=name) for s in burst), flavors)


FOLLOWED = (
    _case("add_last", "insert into {t} (id) values (3)", "alter table {t} add c int", "insert into {t} values (4, 'x', 1, 9)"),
    _case("add_first", "alter table {t} add column c int first", "insert into {t} values (7, 3, 'a', 1)", "update {t} set c = 5 where id = 1"),
    _case("add_after", "alter table {t} add column c varchar(5) not null default 'é' after id", "insert into {t} values (3, 'z', 'a', 1)"),
    _case("add_many", "alter table {t} add (c int, d decimal(6,2) not null default 1.5), add e enum('x','it''s') not null, add f bit(4) default b'0101', add g set('p','q') default 'p,q', add h date default '2020-02-29', add i datetime(3) not null default '2021-01-01 00:00:00', add j double default 0.5, add k tinyint(1) default 1, add l boolean default false", "insert into {t} (id) values (3)", "update {t} set e = 'it''s', g = 'q' where id = 1"),
    _case("drop_kept", "alter table {t} drop column a", "insert into {t} values (3, 5)", "update {t} set n = 6 where id = 1", "delete from {t} where id = 2"),
    _case("drop_and_again", "alter table {t} drop column a", "insert into {t} values (3, 5)", "alter table {t} add a int default 4", "insert into {t} values (5, 5, 5)"),
    _case("drop_add_in_one", "alter table {t} drop column a, add column a varchar(3) default 'zz' first", "insert into {t} values ('q', 3, 1)"),
    _case("column_renamed", "alter table {t} rename column a to b", "insert into {t} values (3, 'x', 1)", "update {t} set b = 'y' where id = 1"),
    _case("rename_onto_dropped", "alter table {t} add b varchar(10) default 'bb'", "alter table {t} drop column a, rename column b to a", "insert into {t} values (3, 1, 'z')"),
    _case("change_name_and_type", "alter table {t} change n m bigint unsigned null first, change a `b c` text", "insert into {t} values (18446744073709551615, 3, 'x')", "insert into {t} values (null, 4, 'x')"),
    _case("widen", "alter table {t} modify a varchar(3000)", "insert into {t} values (3, repeat('x', 3000), 1)", "alter table {t} modify n bigint", "insert into {t} values (4, 'x', 9223372036854775807)"),
    _case("narrow_what_fits", "alter table {t} modify a varchar(1), modify n tinyint unsigned not null", "insert into {t} values (3, 'x', 255)"),
    _case("nullable", "alter table {t} modify n int null", "insert into {t} values (3, 'x', null)", "delete from {t} where n is null or a is null", "alter table {t} modify a varchar(10) not null, modify n int not null", "insert into {t} values (4, '', 0)"),
    _case("defaults", "alter table {t} alter a set default 'dd'", "insert into {t} (id) values (3)", "alter table {t} alter a drop default, alter n set default 8", "insert into {t} (id, a) values (4, 'x')"),
    _case("reorder", "alter table {t} modify n int not null first, modify a varchar(10) after n", "insert into {t} values (9, 'x', 3)"),
    _case("charset", "alter table {t} convert to character set utf8mb4", "insert into {t} values (3, '🙂', 1)", "alter table {t} modify a varchar(10) character set utf16", "insert into {t} values (4, 'ж🙂', 1)", table=T + " character set latin1", rows="insert into {t} values (1, 'é', 1), (2, null, 2)"),
    _case("labels", "alter table {t} modify e enum('new','x','y','z'), modify s set('a','b','c')", "insert into {t} values (3, 'new', 'a,c')", "alter table {t} modify e varchar(7)", "insert into {t} values (4, 'free', 'b')", "alter table {t} modify e enum('x','y','new','free')", "insert into {t} values (5, 'y', '')", table="create table {t} (id int primary key, e enum('x','y'), s set('a','b'))", rows="insert into {t} values (1, 'x', 'a,b'), (2, null, null)"),
    _case("decimals", "alter table {t} modify d decimal(12,4)", "insert into {t} values (3, 12345678.9012, 1.25)", "alter table {t} modify f double", "insert into {t} values (4, 1, 1e300)", table="create table {t} (id int primary key, d decimal(6,2), f float)", rows="insert into {t} values (1, 1.25, 0.1), (2, -9999.99, 16777216)"),
    _case("moments", "alter table {t} modify d datetime(6), modify tm time(3)", "insert into {t} values (3, '2021-02-03 04:05:06.789123', '-10:11:12.5', '2000-01-01')", "alter table {t} modify dd datetime", "insert into {t} values (4, null, null, '2020-01-02 03:04:05')", table="create table {t} (id int primary key, d datetime, tm time, dd date)", rows="insert into {t} values (1, '2020-01-01 00:00:01', '01:02:03', '1999-12-31'), (2, null, null, null)"),
    _case("binaries", "alter table {t} modify v blob, modify b varbinary(9)", "insert into {t} values (3, x'00ff', x'0102030405060708')", table="create table {t} (id int primary key, v varbinary(5), b binary(3))", rows="insert into {t} values (1, x'00ff', 'ab'), (2, null, null)"),
    _case("key_wider", "alter table {t} drop primary key, add primary key (id, n)", "insert into {t} values (1, 'again', 2)", "update {t} set a = 'z' where id = 1 and n = 1", "delete from {t} where id = 2"),
    _case("key_gone", "alter table {t} drop primary key", "insert into {t} values (1, 'a', 1), (1, 'a', 1)", "delete from {t} limit 1", "update {t} set a = 'q' where n = 2"),
    _case("key_comes", "insert into {t} values (3, 'c', 3)", "alter table {t} add primary key (id)", "update {t} set a = 'x' where id = 3", "insert into {t} values (4, 'd', 4)", table="create table {t} (id int not null, a varchar(10), n int)"),
    _case("key_column_renamed", "alter table {t} change id pk bigint", "insert into {t} values (3000000000, 'a', 1)", "update {t} set pk = 7 where pk = 1"),
    _case("auto_increment", "alter table {t} modify id int auto_increment", "insert into {t} (a) values ('x')", "alter table {t} auto_increment = 100", "insert into {t} (a) values ('y')"),
    _case("indexes", "create index ix on {t} (a)", "alter table {t} add unique ux (n), add fulltext ft (a)", "drop index ix on {t}", "alter table {t} drop index ux, drop index ft", "insert into {t} values (3, 'a', 1)"),
    _case("options", "alter table {t} comment 'drop column a, rename column a to b'", "alter table {t} engine=innodb", "alter table {t} add check (n < 1000)", "alter table {t} order by n, a", "alter table {t} row_format=dynamic, force", "optimize table {t}", "analyze table {t}", "insert into {t} values (3, 'a', 1)"),
    _case("commented", "alter /* hi */ table {t} -- what?\n add column c int # and so on\n", "ALTER TABLE `{t}` ADD COLUMN `select` INT, ADD `Grüße` INT DEFAULT 5", "insert into {t} values (3, 'a', 1, 2, 4, 5)", "alter table {t} rename column `select` to `SELECT 2`", "update {t} set `SELECT 2` = 8"),
    _case("versioned", "/*!40000 alter table {t} add column d int default 6 */", "insert into {t} values (3, 'a', 1, 2)", flavors=("mysql",)),
    _case("in_a_burst", *[s for n in range(5) for s in ("insert into {t} (id) values (1%d)" % n, "alter table {t} add c%d int default %d" % (n, n), "update {t} set c%d = id" % n, "insert into {t} (id, c%d) values (2%d, 7)" % (n, n))], "alter table {t} drop c0, drop c1, rename column c2 to c1", "insert into {t} (id, c1) values (99, 9)"),
    _case("truncated", "truncate {t}", "insert into {t} values (9, 'x', 9)", "truncate table {t}", "insert into {t} values (8, 'y', 8)"),
    _case("renamed_there_and_back", "rename table {t} to {t}_x", "insert into {t}_x values (3, 'x', 1)", "alter table {t}_x add c int, rename to {t}", "insert into {t} values (4, 'y', 1, 2)"),
    _case("dropped_and_made", "drop table {t}", "create table {t} (k varchar(9) primary key, z json)", "insert into {t} values ('a', '{{\"b\":  1, \"a\": [2]}}')"),
    _case("partitions", "alter table {t} add partition (partition p2 values less than (1000))", "insert into {t} values (500, 5)", "alter table {t} reorganize partition p1, p2 into (partition p3 values less than (1000))", "alter table {t} rebuild partition p3", "alter table {t} remove partitioning", "insert into {t} values (5000, 5)", table="create table {t} (id int primary key, v int) partition by range (id) (partition p0 values less than (10), partition p1 values less than (100))", rows="insert into {t} values (1, 1), (50, 2)"),
    _case("instant", "alter table {t} add c int default 7, algorithm=instant", "insert into {t} (id) values (3)", "alter table {t} add d int default 8 first, algorithm=instant", "alter table {t} drop column c, algorithm=instant", "alter table {t} add e int, algorithm=inplace, lock=none", "alter table {t} modify a varchar(11), algorithm=copy", "insert into {t} (id) values (4)", flavors=("mysql",)),
    _case("invisible", "alter table {t} add c int invisible default 3", "insert into {t} (id) values (3)", "alter table {t} alter column c set visible", "insert into {t} values (4, 'x', 1, 2)", flavors=("mysql",)),
    _case("if_exists", "alter table if exists {t} add column if not exists a varchar(10), add column if not exists c int", "insert into {t} values (3, 'a', 1, 2)", "alter table {t} drop column if exists nope, drop column if exists c", "insert into {t} values (4, 'a', 1)", flavors=("mariadb",)),
    Case("swap", ("create table swap_a (id int primary key, v int)", "create table swap_b (id int primary key, w varchar(5))", "insert into swap_a values (1, 1)", "insert into swap_b values (1, 'w')"),
         ("insert into swap_a values (2, 2)", "rename table swap_a to swap_tmp, swap_b to swap_a, swap_tmp to swap_b", "insert into swap_a values (3, 'x')", "insert into swap_b values (3, 3)")),
    Case("ghost", ("create table ghosted (id int primary key, v int)", "insert into ghosted values (1, 1), (2, 2)"),
         ("create table _ghosted_gho like ghosted", "alter table _ghosted_gho add column w varchar(9) default 'new'", "insert into _ghosted_gho (id, v) select id, v from ghosted", "insert into ghosted values (3, 3)", "replace into _ghosted_gho (id, v) values (3, 3)", "rename table ghosted to _ghosted_del, _ghosted_gho to ghosted", "insert into ghosted values (4, 4, 'x')", "drop table _ghosted_del")),
    Case("made", (), ("create table made_1 (id bigint unsigned auto_increment primary key, t text, u varchar(20) unique)", "insert into made_1 (t, u) values ('жé🙂', 'é')", "create table made_2 like made_1", "insert into made_2 (t) values ('x')", "create table made_3 as select * from made_1", "insert into made_3 values (9, 'ж', null)", "create table made_4 (x int, y timestamp default current_timestamp)", "insert into made_4 (x) values (1), (1)", "create table if not exists made_4 (z int)", "create temporary table made_5 (id int)", "insert into made_5 values (1)", "drop temporary table made_5", "create table made_6 (id int primary key)", "drop table made_6", "create view made_v as select * from made_1", "drop view made_v")),
)
