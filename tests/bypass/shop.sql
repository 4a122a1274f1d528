-- The database that every attack finds. All values are made up; each sensitive one is unlike anything else in here,
-- so that finding it in a reply is proof. `secrets.sql` lists them.
SET client_min_messages = warning;
CREATE EXTENSION hstore;
CREATE EXTENSION pgcrypto;
CREATE EXTENSION dblink;
CREATE EXTENSION tablefunc;
CREATE EXTENSION pageinspect;
CREATE EXTENSION xml2;
CREATE EXTENSION pg_stat_statements;
SET SESSION AUTHORIZATION app;

CREATE TABLE people (
    id int PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, phone text NOT NULL,
    ssn text NOT NULL UNIQUE, tax_id bigint NOT NULL, salary numeric(12,2) NOT NULL, birth_date date NOT NULL,
    city text NOT NULL, CONSTRAINT ssn_is_not_empty CHECK (ssn <> ''));
INSERT INTO people VALUES
    (1, 'Quentin Ashworth', 'quash7702@mail.example', '+1 415-555-0173', '512-84-9071', 90417752318, 184199.77, '1966-05-23', 'Denver'),
    (2, 'Marisol Etxeberria', 'mariexe5518@mail.example', '+1 312-555-0148', '371-66-2894', 81536604927, 97342.61, '1979-11-04', 'Lisbon'),
    (3, 'Tobias Wrzesniewski', 'tobwrz3390@mail.example', '+1 720-555-0119', '268-45-7713', 73920518846, 123874.39, '1988-02-17', 'Oslo'),
    (4, 'Ngozi Abernathy', 'ngoaber8126@mail.example', '+1 617-555-0195', '443-29-5586', 65208934471, 76518.83, '1993-08-30', 'Accra'),
    (5, 'Ludmila Fairweather', 'ludfair4407@mail.example', '+1 206-555-0162', '195-73-6248', 54871290635, 151263.48, '1971-12-09', 'Quito');

CREATE TABLE cards (
    id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, holder_ssn text NOT NULL REFERENCES people (ssn) ON UPDATE CASCADE,
    card_number text NOT NULL, expires text NOT NULL);
INSERT INTO cards SELECT id, id, ssn, (ARRAY['4716258304917263', '4539814420075186', '4916338275504819', '4485927716630247', '4024007183659912'])[id], '11/29'
FROM people;

CREATE TABLE accounts (
    id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, login text NOT NULL, password text NOT NULL, api_key bytea NOT NULL);
INSERT INTO accounts VALUES
    (1, 1, 'qa', 'violet-harbour-6613', 'kelp91tundra'), (2, 2, 'me', 'copper-lantern-2904', 'moss44glacier');

CREATE TABLE patients (id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, diagnosis text NOT NULL, is_pregnant boolean NOT NULL);
INSERT INTO patients VALUES (1, 1, 'hyperaldosteronism', false), (2, 2, 'sarcoidosis stage two', true);

CREATE TABLE letters (id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, document jsonb NOT NULL, emails text[] NOT NULL, attributes hstore NOT NULL);
INSERT INTO letters
SELECT id, id, jsonb_build_object('subject', 'greetings', 'ssn', ssn, 'nested', jsonb_build_object('email', email)),
       ARRAY[email, 'info@shop.example'], hstore(ARRAY['colour', 'ssn'], ARRAY['blue', ssn]) FROM people;

CREATE TABLE orders (
    id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, item text NOT NULL, amount numeric(10,2) NOT NULL, placed date NOT NULL, state text NOT NULL);
INSERT INTO orders SELECT n, 1 + n % 5, (ARRAY['kettle', 'desk lamp', 'notebook'])[1 + n % 3], n * 7, date '2026-01-01' + n, 'paid' FROM generate_series(1, 20) n;
CREATE TABLE products (id int PRIMARY KEY, label text NOT NULL UNIQUE, price numeric(10,2) NOT NULL);
INSERT INTO products VALUES (1, 'kettle', 19), (2, 'desk lamp', 42), (3, 'notebook', 3);
CREATE SEQUENCE order_numbers START 1000;
CREATE TABLE notes (id int PRIMARY KEY, body text);
CREATE TABLE inbox (id int, body text);

-- Inheritance and partitions: rows of the children are rows of the parent.
CREATE TABLE former_people (left_on date) INHERITS (people);
CREATE TABLE visits (id int, visitor_ssn text, visited date) PARTITION BY RANGE (id);
CREATE TABLE visits_low PARTITION OF visits FOR VALUES FROM (0) TO (100);
INSERT INTO visits SELECT id, ssn, '2026-03-01' FROM people;

-- Views under names that say nothing.
CREATE VIEW directory AS SELECT id, name, ssn AS reference FROM people;
CREATE VIEW reference_list AS SELECT id, reference AS r FROM directory;
CREATE VIEW yearly AS SELECT id, salary * 12 AS amount FROM people;
CREATE MATERIALIZED VIEW phone_book AS SELECT id, phone AS line FROM people;
CREATE VIEW order_totals AS SELECT person_id, sum(amount) AS total FROM orders GROUP BY person_id;

-- Code on the server.
CREATE FUNCTION reference_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ssn FROM people WHERE id = $1';
CREATE FUNCTION line_of(who int) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT phone FROM people WHERE id = who); END $$;
CREATE FUNCTION everybody() RETURNS SETOF people LANGUAGE sql STABLE AS 'SELECT * FROM people';
CREATE FUNCTION forget(who int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders WHERE person_id = who; RETURN who; END $$;
CREATE FUNCTION tell(who int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'it is %', (SELECT ssn FROM people WHERE id = who); RETURN who; END $$;
CREATE FUNCTION refuse(who int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not for %', (SELECT ssn FROM people WHERE id = who); END $$;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
CREATE PROCEDURE clear_orders() LANGUAGE sql AS 'DELETE FROM orders';
CREATE FUNCTION on_inbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM products; RETURN NEW; END $$;
CREATE TRIGGER inbox_empties BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION on_inbox();
CREATE VIEW drop_box AS SELECT id FROM notes;
CREATE RULE drop_box_empties AS ON INSERT TO drop_box DO INSTEAD DELETE FROM products;

SELECT lo_from_bytea(4242, convert_to('the number is ' || ssn, 'UTF8')) FROM people WHERE id = 1;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor;
GRANT SELECT ON orders, products TO clerk;
RESET SESSION AUTHORIZATION;
ANALYZE;
