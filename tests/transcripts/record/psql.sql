-- Recorded with psql: simple queries, parameters, COPY both ways, errors, a cursor.
\set ON_ERROR_STOP off
SELECT 1 AS one, 'two' AS two, NULL::text AS three;
SELECT id, email FROM people ORDER BY id;
SELECT 1\; SELECT 2\; SELECT 1/0\; SELECT 3;
SELEC 1;
DROP TABLE IF EXISTS nothing_of_that_name;
BEGIN;
INSERT INTO notes VALUES (7, 'seven') RETURNING id;
SELECT * FROM no_such_table;
SELECT 1;
ROLLBACK;
COPY notes FROM STDIN;
1	one
2	two
\.
COPY notes FROM STDIN;
not a number	x
\.
COPY (SELECT n FROM generate_series(1, 3) AS n) TO STDOUT;
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) AS n;
FETCH 2 FROM c;
COMMIT;
PREPARE q (int) AS SELECT $1 + 1;
EXECUTE q (41);
DEALLOCATE q;
LISTEN channel;
NOTIFY channel, 'payload';
SET application_name = 'renamed';
;
SELECT 'ünïcödé' AS text, '\x00ff'::bytea AS raw;
