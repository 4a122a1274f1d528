-- libpq, by psql: what it prints is the transcript. Server versions differ in what they print, ways may not.
\set VERBOSITY verbose
\pset null '(null)'
\echo == parameters
\echo :SERVER_VERSION_NUM :ENCODING
SHOW DateStyle; SHOW TimeZone; SHOW standard_conforming_strings; SHOW application_name;
SELECT pg_backend_pid() = pid AS own_pid, client_addr, application_name FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT inet_client_addr(), inet_server_addr(), inet_server_port() = current_setting('port')::int AS right_port;
\echo == types
SELECT * FROM driver.typed ORDER BY id \gx
TABLE driver.typed \gdesc
\echo == extended
SELECT $1::int + $2::int AS sum, $3 || '!' AS text \bind 20 22 'ünïcödé' \g
SELECT count(*) FROM driver.typed WHERE words = $1 OR $1 IS NULL \bind plain \g
PREPARE twice (int) AS SELECT $1 * 2; EXECUTE twice(4); EXECUTE twice(5); DEALLOCATE twice;
\echo == many statements in one text
SELECT 1 AS one\; SELECT 2 AS two\; INSERT INTO driver.items VALUES (90, 'nail', 0.5) RETURNING id;
SELECT 1\; SELECT 1/0\; SELECT 3;
;
\echo == errors
INSERT INTO driver.items VALUES (1, 'bolt', 2.5);
INSERT INTO driver.items VALUES (1, 'again', 1);
INSERT INTO driver.items VALUES (2, 'free', -1);
INSERT INTO driver.items VALUES (3, NULL, 1);
SELECT * FROM driver.no_such_table;
SELECT missing FROM driver.items;
SELEC 1;
SELECT 'abc'::int;
SELECT driver.fails();
SELECT 1 / (SELECT 0);
\echo == notices
SELECT driver.says('bell');
DO $$ BEGIN RAISE INFO 'info'; RAISE LOG 'log'; END $$;
SET client_min_messages = debug1; SET client_min_messages = notice;
CREATE TABLE IF NOT EXISTS driver.items (id int);
CALL driver.doubles(21);
\echo == transactions
BEGIN; INSERT INTO driver.items VALUES (10, 'kept', 1); SAVEPOINT s; INSERT INTO driver.items VALUES (10, 'dup', 1);
SELECT 'in a failed transaction'; ROLLBACK TO s; INSERT INTO driver.items VALUES (11, 'after', 1); COMMIT;
BEGIN; DELETE FROM driver.items; ROLLBACK; COMMIT;
BEGIN; SELECT 1/0; COMMIT;
SELECT id, name FROM driver.items ORDER BY id;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; UPDATE driver.items SET price = 2; ROLLBACK;
\echo == copy
COPY driver.copied FROM STDIN;
1	one\ttab	\\x0102
2	\N	\N
\.
COPY driver.copied FROM STDIN WITH (FORMAT csv, HEADER);
id,note,raw
3,"a ""quoted"", comma",\x00
\.
COPY driver.copied (id) FROM STDIN;
no number
\.
COPY driver.copied TO STDOUT;
COPY driver.copied TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE *);
\copy (SELECT id, words FROM driver.typed ORDER BY id) TO STDOUT
COPY (SELECT 1 / (n - 3) FROM generate_series(1, 5) n) TO STDOUT;
\echo == cursors
\set FETCH_COUNT 7
SELECT n, n * n AS square FROM generate_series(1, 30) n;
\set FETCH_COUNT 0
BEGIN; DECLARE c SCROLL CURSOR FOR SELECT n FROM generate_series(1, 10) n; FETCH 3 FROM c; FETCH BACKWARD 2 FROM c;
MOVE LAST IN c; FETCH FROM c; FETCH PRIOR FROM c; CLOSE c; FETCH c; ROLLBACK;
\echo == notifications
LISTEN driver_news; NOTIFY driver_news, 'first'; SELECT pg_notify('driver_news', 'second') IS NULL AS sent; UNLISTEN *;
\echo == large
INSERT INTO driver.large VALUES (1, repeat('0123456789abcdef', 65536), decode(repeat('00ff', 524288), 'hex'));
SELECT length(body), md5(body), length(raw), md5(raw) FROM driver.large;
SELECT body FROM driver.large;
SELECT n, repeat(chr(65 + n % 26), n % 500) FROM generate_series(1, 3000) n;
\echo == settings
SET search_path = driver, public; SHOW search_path; SET TIME ZONE 'Asia/Kathmandu'; SELECT instant FROM typed ORDER BY id;
SET DateStyle = 'German'; SELECT day FROM typed ORDER BY id; SET client_encoding = 'LATIN1'; SELECT 'ok'; RESET ALL; DISCARD ALL;
\crosstabview
SELECT 'a' AS r, 'x' AS c, 1 AS v UNION ALL SELECT 'b', 'y', 2 ORDER BY 1 \crosstabview
\echo == large objects
BEGIN; SELECT lo_from_bytea(424242, '\x616263'); SELECT convert_from(lo_get(424242), 'UTF8'); SELECT lo_unlink(424242); COMMIT;
\d driver.typed
\df driver.*
\l shop
SELECT 'goes on';
