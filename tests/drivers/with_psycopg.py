"""psycopg 3: the same work each time, printed without anything that differs from run to run."""
import hashlib
import logging
import sys
import threading

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

# Whether psycopg finds a pipeline aborted before it leaves it, and says so in its log, depends on the clock.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)


def connect(**more):
    # Host, port, user, database and password come from the environment, as libpq reads it.
    return psycopg.connect(autocommit=True, **more)


def show(*what):
    print(*(repr(x) for x in what))


def failure(error):
    d = error.diag
    show("error", d.sqlstate, d.severity, d.message_primary, d.message_detail, d.message_hint, d.statement_position,
         d.context, d.schema_name, d.table_name, d.column_name, d.datatype_name, d.constraint_name,
         d.source_function)


def attempt(connection, text, parameters=None):
    try:
        for cursor in connection.execute(text, parameters).results():
            show(cursor.statusmessage, cursor.fetchall() if cursor.description else None)
    except psycopg.Error as error:
        failure(error)


def masked(connection):
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        for row in cursor.execute("SELECT id, name, email, phone, ssn, iban, birth_date, city FROM people ORDER BY id"):
            show(*row)
        cursor.execute("SELECT email, birth_date FROM people WHERE id = %s", (7,))
        show(cursor.fetchall())
        cursor.execute("SELECT array_agg(email), array_agg(birth_date), ARRAY[p], p, ROW(ssn, id), daterange(birth_date, NULL) FROM people p GROUP BY p.id ORDER BY p.id")
        show(cursor.fetchall())
    for form in ("", " (FORMAT csv, HEADER, FORCE_QUOTE *)", " (FORMAT binary)", " (DELIMITER '5', FORMAT csv)"):
        with connection.cursor().copy("COPY (SELECT id, name, email, birth_date, ssn, city FROM people ORDER BY id) TO STDOUT" + form) as copy:
            if "csv" in form:
                for data in copy:
                    show(bytes(data))
                continue
            copy.set_types(["int4", "text", "text", "date", "text", "text"])
            for row in copy.rows():
                show(row)


def main():
    connection = connect()
    if sys.argv[1:] == ["masked"]:
        return masked(connection)
    info = connection.info
    show("parameters", [info.parameter_status(name) for name in (
        "server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes",
        "standard_conforming_strings", "is_superuser", "session_authorization", "IntervalStyle")])
    pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    show("pid", pid == info.backend_pid)

    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        # Dates before year 1 and composite types have no Python value; they are asked for as text.
        cursor.execute("SELECT id, flag, small, big, single, twice, exact, words, fixed, raw, doc, docb, ids, names, day, clock,"
                       " moment::text, instant, span, uid, address, network, whole, spot, mood, made, bits FROM driver.typed ORDER BY id")
        show([(column.name, column.type_code < 16384) for column in cursor.description])
        for row in cursor:
            show(*row)

    for value in (1, -1, 2**40, 2**80, 1.5, True, None, "ünïcödé ☃", b"\x00\xff", [1, 2], ["a", None], Jsonb({"k": [1]})):
        attempt(connection, "SELECT %s AS value, %b AS again", (value, value))

    total = 0
    for n in range(200):
        total += connection.execute("SELECT %s::int * 2", (n,), prepare=True).fetchone()[0]
    show("prepared", total)

    for text in ("INSERT INTO driver.items VALUES (1, 'bolt', 2.5)", "INSERT INTO driver.items VALUES (1, 'again', 1)",
                 "INSERT INTO driver.items VALUES (2, 'free', -1)", "INSERT INTO driver.items VALUES (3, NULL, 1)",
                 "SELECT * FROM driver.no_such_table", "SELECT missing FROM driver.items", "SELEC 1", "SELECT 'abc'::int",
                 "SELECT driver.fails()", "SELECT 1/0", "", "SELECT 1; SELECT 'two'; SELECT 1/0"):
        attempt(connection, text)

    notices = []
    connection.add_notice_handler(lambda d: notices.append((d.severity, d.message_primary, d.message_detail, d.message_hint)))
    attempt(connection, "SELECT driver.says(%s)", ("bell",))
    attempt(connection, "CALL driver.doubles(%s)", (21,))
    show("notices", notices)

    try:
        with connection.transaction():
            connection.execute("INSERT INTO driver.items VALUES (10, 'kept', 1)")
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO driver.items VALUES (10, 'dup', 1)")
            except psycopg.Error as error:
                failure(error)
            connection.execute("INSERT INTO driver.items VALUES (11, 'after', 1)")
    finally:
        show("status", info.transaction_status.name)
    connection.execute("BEGIN")
    attempt(connection, "SELECT 1/0")
    attempt(connection, "SELECT 'in a failed transaction'")
    show("status", info.transaction_status.name)
    connection.execute("ROLLBACK")
    show(connection.execute("SELECT id, name, price FROM driver.items ORDER BY id").fetchall())

    with connection.cursor().copy("COPY driver.copied FROM STDIN") as copy:
        for n in range(5000):
            copy.write_row((n, f"note {n}\t\\", b"\x00" * (n % 9)))
    with connection.cursor().copy("COPY driver.copied FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text", "bytea"])
        for n in range(5000, 5500):
            copy.write_row((n, None, b"\xff"))
    try:
        with connection.cursor().copy("COPY driver.copied FROM STDIN") as copy:
            copy.write(b"not a number\n")
    except psycopg.Error as error:
        failure(error)
    try:
        with connection.cursor().copy("COPY driver.copied FROM STDIN") as copy:
            copy.write(b"1\tx\t\n")
            raise ValueError("the client gives up")
    except (ValueError, psycopg.Error) as error:
        show("gave up", type(error).__name__)
    for form in ("", " WITH (FORMAT csv)", " WITH (FORMAT binary)"):
        digest = hashlib.sha256()
        with connection.cursor().copy("COPY (SELECT * FROM driver.copied ORDER BY id) TO STDOUT" + form) as copy:
            for data in copy:
                digest.update(data)
        show("copy out", form, digest.hexdigest())
    attempt(connection, "SELECT count(*), sum(id) FROM driver.copied")

    other = connect()
    connection.execute("LISTEN driver_news")
    other.execute("NOTIFY driver_news, 'from another'")
    other.execute("SELECT pg_notify('driver_news', 'a second')")
    news = connection.notifies(timeout=20, stop_after=2)
    show("news", [(n.channel, n.payload, n.pid == other.info.backend_pid) for n in news])

    with connection.transaction():
        with connection.cursor(name="driver_cursor", scrollable=True) as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT n FROM generate_series(1, 30) n")
            show("cursor", [row[0] for row in cursor])
            cursor.scroll(4, mode="absolute")
            show("scrolled", cursor.fetchmany(3))

    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT %s::text || %s", (str(n), "!")) for n in range(50)]
        pipeline.sync()
        show("pipeline", [cursor.fetchone()[0] for cursor in cursors])
    try:
        with connection.pipeline():
            first = connection.execute("SELECT 1")
            connection.execute("SELECT 1/0")
            connection.execute("INSERT INTO driver.items VALUES (66, 'never', 1)")
    except psycopg.Error as error:
        failure(error)
    attempt(connection, "SELECT count(*) FROM driver.items WHERE id = 66")

    cursor = connection.cursor()
    cursor.executemany("INSERT INTO driver.items VALUES (%s, %s, %s) RETURNING id", [(n, f"n{n}", n) for n in range(100, 400)],
                       returning=True)
    show("many", cursor.rowcount)
    attempt(connection, sql.SQL("SELECT count(*), sum(price) FROM {}").format(sql.Identifier("driver", "items")))

    text, raw = "ü☃ab" * 262144, bytes(range(256)) * 4096
    connection.execute("INSERT INTO driver.large VALUES (1, %s, %b)", (text, raw))
    back = connection.cursor(binary=True).execute("SELECT body, raw FROM driver.large").fetchone()
    show("large", back[0] == text, back[1] == raw)

    show("stream", sum(row[0] for row in connection.cursor().stream("SELECT n FROM generate_series(1, 20000) n")))

    def cancel():
        watcher = connect()
        while not watcher.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%pg_sleep(600)%%'"
                                  " AND wait_event = 'PgSleep'", (pid,)).fetchone():
            pass
        watcher.close()
        connection.cancel_safe(timeout=20)

    thread = threading.Thread(target=cancel)
    thread.start()
    attempt(connection, "SELECT pg_sleep(600)")
    thread.join()
    attempt(connection, "SELECT 'goes on'")
    for unhappy in ({"user": "nobody_of_that_name"}, {"dbname": "no_such_database"}, {"options": "-c no_such_setting=1"}):
        try:
            connect(**unhappy)
        except psycopg.Error as error:
            show("refused", str(error).split("FATAL:")[-1].strip())
    other.close()
    connection.close()


main()
