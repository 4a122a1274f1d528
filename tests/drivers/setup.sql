-- What every driver program starts from. Made anew before each run, so that both ways begin the same.
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS driver CASCADE;
CREATE SCHEMA driver;
CREATE TYPE driver.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE driver.point3 AS (x int, y numeric, label text);
CREATE TABLE driver.items (
    id int PRIMARY KEY, name text NOT NULL, price numeric(12,3), CONSTRAINT price_is_positive CHECK (price > 0));
CREATE TABLE driver.copied (id int, note text, raw bytea);
CREATE TABLE driver.large (id int PRIMARY KEY, body text, raw bytea);
CREATE TABLE driver.typed (
    id int PRIMARY KEY, flag bool, small smallint, big bigint, single real, twice double precision,
    exact numeric, words text, fixed char(5), raw bytea, doc json, docb jsonb, ids int[], names text[],
    day date, clock time, moment timestamp, instant timestamptz, span interval, uid uuid, address inet,
    network cidr, whole int4range, spot point, mood driver.mood, made driver.point3, bits bit varying);
INSERT INTO driver.typed VALUES
    (1, true, -32768, 9223372036854775807, 1.5, -2.25e-300, 12345678901234567890.123456789, 'plain', 'ab',
     '\x00ff10', '{"a": [1, null, "x"]}', '{"b": {"c": true}}', '{1,NULL,3}', '{"a,b","c\"d",NULL}',
     '2026-02-28', '23:59:59.999999', '1999-12-31 23:59:59.5', '2026-07-01 12:00:00+02', '1 year 2 mons 3 days 04:05:06.7',
     '6f9619ff-8b86-d011-b42d-00c04fc964ff', '192.0.2.7', '2001:db8::/32', '[1,10)', '(1.5,-2)', 'happy',
     ROW(1, 2.50, 'a "quoted", label'), B'10110'),
    (2, false, 0, -1, 0, 0, 0.00, E'ünïcödé ☃ 🐘\ttab\nline', '', '', 'null', '[]', '{}', '{}', '0001-01-01',
     '00:00:00', '4713-01-01 00:00:00 BC', '1970-01-01 00:00:00+00', '-1 days', '00000000-0000-0000-0000-000000000000',
     '::1', '10.0.0.0/8', 'empty', '(0,0)', 'sad', ROW(NULL, NULL, ''), B''),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE FUNCTION driver.says(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'heard %', what USING DETAIL = 'a detail', HINT = 'a hint';
    RAISE WARNING 'and a warning';
    RETURN length(what);
END $$;
CREATE FUNCTION driver.fails() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'custom failure' USING ERRCODE = 'GV001', DETAIL = 'what exactly', HINT = 'what to do',
        TABLE = 'items', COLUMN = 'price';
END $$;
CREATE PROCEDURE driver.doubles(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := n * 2; END $$;
