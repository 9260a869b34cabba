# Schema changes and rows around them. `## name [flavor]`, then what stands on the source before the copy is made,
# `--`, then what runs in one go while the stream is at work. A case without a first part has the table `name`
# (id int primary key, a varchar(10), n int not null default 3) with the rows (1, 'a', 1), (2, null, 2).

## add_last
insert into add_last (id) values (3)
alter table add_last add c int
insert into add_last values (4, 'x', 1, 9)

## add_first
alter table add_first add column c int first
insert into add_first values (7, 3, 'a', 1)
update add_first set c = 5 where id = 1

## add_after
alter table add_after add column c varchar(5) not null default 'é' after id
insert into add_after values (3, 'z', 'a', 1)

## add_many
alter table add_many add (c int, d decimal(6,2) not null default 1.5), add e enum('x','it''s') not null, add f bit(4) default b'0101', add g set('p','q') default 'p,q', add h date default '2020-02-29', add i datetime(3) not null default '2021-01-01 00:00:00', add j double default 0.5, add k tinyint(1) default 1, add l boolean default false
insert into add_many (id) values (3)
update add_many set e = 'it''s', g = 'q' where id = 1

## drop_kept
alter table drop_kept drop column a
insert into drop_kept values (3, 5)
update drop_kept set n = 6 where id = 1
delete from drop_kept where id = 2

## drop_and_again
alter table drop_and_again drop column a
insert into drop_and_again values (3, 5)
alter table drop_and_again add a int default 4
insert into drop_and_again values (5, 5, 5)

## drop_add_in_one
alter table drop_add_in_one drop column a, add column a varchar(3) default 'zz' first
insert into drop_add_in_one values ('q', 3, 1)

## column_renamed
alter table column_renamed rename column a to b
insert into column_renamed values (3, 'x', 1)
update column_renamed set b = 'y' where id = 1

## rename_onto_dropped
alter table rename_onto_dropped add b varchar(10) default 'bb'
alter table rename_onto_dropped drop column a, rename column b to a
insert into rename_onto_dropped values (3, 1, 'z')

## change_name_and_type
alter table change_name_and_type change n m bigint unsigned null first, change a `b c` text
insert into change_name_and_type values (18446744073709551615, 3, 'x')
insert into change_name_and_type values (null, 4, 'x')

## widen
alter table widen modify a varchar(3000)
insert into widen values (3, repeat('x', 3000), 1)
alter table widen modify n bigint
insert into widen values (4, 'x', 9223372036854775807)

## narrow_what_fits
alter table narrow_what_fits modify a varchar(1), modify n tinyint unsigned not null
insert into narrow_what_fits values (3, 'x', 255)

## nullable
alter table nullable modify n int null
insert into nullable values (3, 'x', null)
delete from nullable where n is null or a is null
alter table nullable modify a varchar(10) not null, modify n int not null
insert into nullable values (4, '', 0)

## defaults
alter table defaults alter a set default 'dd'
insert into defaults (id) values (3)
alter table defaults alter a drop default, alter n set default 8
insert into defaults (id, a) values (4, 'x')

## reorder
alter table reorder modify n int not null first, modify a varchar(10) after n
insert into reorder values (9, 'x', 3)

## charset
create table charset (id int primary key, a varchar(10), n int not null default 3) character set latin1
insert into charset values (1, 'é', 1), (2, null, 2)
--
alter table charset convert to character set utf8mb4
insert into charset values (3, '🙂', 1)
alter table charset modify a varchar(10) character set utf16
insert into charset values (4, 'ж🙂', 1)

## labels
create table labels (id int primary key, e enum('x','y'), s set('a','b'))
insert into labels values (1, 'x', 'a,b'), (2, null, null)
--
alter table labels modify e enum('new','x','y','z'), modify s set('a','b','c')
insert into labels values (3, 'new', 'a,c')
alter table labels modify e varchar(7)
insert into labels values (4, 'free', 'b')
alter table labels modify e enum('x','y','new','free')
insert into labels values (5, 'y', '')

## labels_twice
set sql_mode = ''
create table labels_twice (id int primary key, e enum('a','a','b'), s set('x','x'))
set sql_mode = default
insert into labels_twice values (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 1, 3)
--
insert into labels_twice values (5, 2, 3), (6, 'a', 'x'), (7, 3, 2)
update labels_twice set e = 2, s = 2 where id = 1
update labels_twice set e = 1 where id = 2
delete from labels_twice where id = 4

## decimals
create table decimals (id int primary key, d decimal(6,2), f float)
insert into decimals values (1, 1.25, 0.1), (2, -9999.99, 16777216)
--
alter table decimals modify d decimal(12,4)
insert into decimals values (3, 12345678.9012, 1.25)
alter table decimals modify f double
insert into decimals values (4, 1, 1e300)

## moments
create table moments (id int primary key, d datetime, tm time, dd date)
insert into moments values (1, '2020-01-01 00:00:01', '01:02:03', '1999-12-31'), (2, null, null, null)
--
alter table moments modify d datetime(6), modify tm time(3)
insert into moments values (3, '2021-02-03 04:05:06.789123', '-10:11:12.5', '2000-01-01')
alter table moments modify dd datetime
insert into moments values (4, null, null, '2020-01-02 03:04:05')

## binaries
create table binaries (id int primary key, v varbinary(5), b binary(3))
insert into binaries values (1, x'00ff', 'ab'), (2, null, null)
--
alter table binaries modify v blob, modify b varbinary(9)
insert into binaries values (3, x'00ff', x'0102030405060708')

## key_wider
alter table key_wider drop primary key, add primary key (id, n)
insert into key_wider values (1, 'again', 2)
update key_wider set a = 'z' where id = 1 and n = 1
delete from key_wider where id = 2

## key_gone
alter table key_gone drop primary key
insert into key_gone values (1, 'a', 1), (1, 'a', 1)
delete from key_gone limit 1
update key_gone set a = 'q' where n = 2

## key_comes
create table key_comes (id int not null, a varchar(10), n int)
insert into key_comes values (1, 'a', 1), (2, null, 2)
--
insert into key_comes values (3, 'c', 3)
alter table key_comes add primary key (id)
update key_comes set a = 'x' where id = 3
insert into key_comes values (4, 'd', 4)

## key_column_renamed
alter table key_column_renamed change id pk bigint
insert into key_column_renamed values (3000000000, 'a', 1)
update key_column_renamed set pk = 7 where pk = 1

## auto_increment
alter table auto_increment modify id int auto_increment
insert into auto_increment (a) values ('x')
alter table auto_increment auto_increment = 100
insert into auto_increment (a) values ('y')

## indexes
create index ix on indexes (a)
alter table indexes add unique ux (n), add fulltext ft (a)
drop index ix on indexes
alter table indexes drop index ux, drop index ft
insert into indexes values (3, 'a', 1)

## other_index_than_the_key
create table other_index_than_the_key (n int not null, a varchar(10), unique ux (n), key ia (a))
insert into other_index_than_the_key values (1, 'a')
--
drop index ia on other_index_than_the_key
alter table other_index_than_the_key add key ib (a)
alter table other_index_than_the_key drop index ib
insert into other_index_than_the_key values (2, 'x')
update other_index_than_the_key set a = 'y' where n = 1

## options
alter table options comment 'drop column a, rename column a to b'
alter table options engine=innodb
alter table options add check (n < 1000)
alter table options order by n, a
alter table options row_format=dynamic, force
optimize table options
analyze table options
insert into options values (3, 'a', 1)

## commented
alter /* hi */ table commented -- what?\n add column c int # and so on\n
ALTER TABLE `commented` ADD COLUMN `select` INT, ADD `Grüße` INT DEFAULT 5
insert into commented values (3, 'a', 1, 2, 4, 5)
alter table commented rename column `select` to `SELECT 2`
update commented set `SELECT 2` = 8

## versioned mysql
/*!40000 alter table versioned add column d int default 6 */
insert into versioned values (3, 'a', 1, 2)

## in_a_burst
insert into in_a_burst (id) values (10)
alter table in_a_burst add c0 int default 0
update in_a_burst set c0 = id
insert into in_a_burst (id, c0) values (20, 7)
insert into in_a_burst (id) values (11)
alter table in_a_burst add c1 int default 1
update in_a_burst set c1 = id
insert into in_a_burst (id, c1) values (21, 7)
insert into in_a_burst (id) values (12)
alter table in_a_burst add c2 int default 2
update in_a_burst set c2 = id
insert into in_a_burst (id, c2) values (22, 7)
insert into in_a_burst (id) values (13)
alter table in_a_burst add c3 int default 3
update in_a_burst set c3 = id
insert into in_a_burst (id, c3) values (23, 7)
insert into in_a_burst (id) values (14)
alter table in_a_burst add c4 int default 4
update in_a_burst set c4 = id
insert into in_a_burst (id, c4) values (24, 7)
alter table in_a_burst drop c0, drop c1, rename column c2 to c1
insert into in_a_burst (id, c1) values (99, 9)

## truncated
truncate truncated
insert into truncated values (9, 'x', 9)
truncate table truncated
insert into truncated values (8, 'y', 8)

## renamed_there_and_back
rename table renamed_there_and_back to renamed_there_and_back_x
insert into renamed_there_and_back_x values (3, 'x', 1)
alter table renamed_there_and_back_x add c int, rename to renamed_there_and_back
insert into renamed_there_and_back values (4, 'y', 1, 2)

## dropped_and_made
drop table dropped_and_made
create table dropped_and_made (k varchar(9) primary key, z json)
insert into dropped_and_made values ('a', '{"b":  1, "a": [2]}')

## partitions
create table partitions (id int primary key, v int) partition by range (id) (partition p0 values less than (10), partition p1 values less than (100))
insert into partitions values (1, 1), (50, 2)
--
alter table partitions add partition (partition p2 values less than (1000))
insert into partitions values (500, 5)
alter table partitions reorganize partition p1, p2 into (partition p3 values less than (1000))
alter table partitions rebuild partition p3
alter table partitions remove partitioning
insert into partitions values (5000, 5)

## instant mysql
alter table instant add c int default 7, algorithm=instant
insert into instant (id) values (3)
alter table instant add d int default 8 first, algorithm=instant
alter table instant drop column c, algorithm=instant
alter table instant add e int, algorithm=inplace, lock=none
alter table instant modify a varchar(11), algorithm=copy
insert into instant (id) values (4)

## invisible mysql
alter table invisible add c int invisible default 3
insert into invisible (id) values (3)
alter table invisible alter column c set visible
insert into invisible values (4, 'x', 1, 2)

## if_exists mariadb
alter table if exists if_exists add column if not exists a varchar(10), add column if not exists c int
insert into if_exists values (3, 'a', 1, 2)
alter table if_exists drop column if exists nope, drop column if exists c
insert into if_exists values (4, 'a', 1)

## unread mysql
insert into unread values (3, 'x', 1)
alter database default character set latin1
/* by hand */ ALTER SCHEMA COLLATE utf8mb4_0900_ai_ci
alter table unread order by a desc
insert into unread values (4, 'ж', 1)

## unread_here mariadb
create table unread_here (id int primary key, a varchar(10))
create sequence unread_sequence
--
alter database comment 'x'
select nextval(unread_sequence)
create or replace event unread_event on schedule every 1 day do delete from unread_here
drop event unread_event
drop sequence unread_sequence
alter table unread_here order by a desc
set statement lock_wait_timeout=50 for alter table unread_here add column c int default 4
insert into unread_here (id, a) values (4, 'ж')

## swap
create table swap_a (id int primary key, v int)
create table swap_b (id int primary key, w varchar(5))
insert into swap_a values (1, 1)
insert into swap_b values (1, 'w')
--
insert into swap_a values (2, 2)
rename table swap_a to swap_tmp, swap_b to swap_a, swap_tmp to swap_b
insert into swap_a values (3, 'x')
insert into swap_b values (3, 3)

## ghost
create table ghosted (id int primary key, v int)
insert into ghosted values (1, 1), (2, 2)
--
create table _ghosted_gho like ghosted
alter table _ghosted_gho add column w varchar(9) default 'new'
insert into _ghosted_gho (id, v) select id, v from ghosted
insert into ghosted values (3, 3)
replace into _ghosted_gho (id, v) values (3, 3)
rename table ghosted to _ghosted_del, _ghosted_gho to ghosted
insert into ghosted values (4, 4, 'x')
drop table _ghosted_del

## made
--
create table made_1 (id bigint unsigned auto_increment primary key, t text, u varchar(20) unique)
insert into made_1 (t, u) values ('жé🙂', 'é')
create table made_2 like made_1
insert into made_2 (t) values ('x')
create table made_3 as select * from made_1
insert into made_3 values (9, 'ж', null)
create table made_4 (x int, y timestamp default current_timestamp)
insert into made_4 (x) values (1), (1)
create table if not exists made_4 (z int)
create temporary table made_5 (id int)
insert into made_5 values (1)
drop temporary table made_5
create table made_6 (id int primary key)
drop table made_6
create view made_v as select * from made_1
drop view made_v
