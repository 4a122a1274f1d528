"""pg8000: a driver in pure Python with a protocol implementation of its own."""
import hashlib
import io
import os
import ssl
import sys
import threading

import pg8000.native
from pg8000.exceptions import DatabaseError, InterfaceError


def connect(**more):
    root = os.environ.get("PGSSLROOTCERT")
    context = ssl.create_default_context(cafile=root) if root else None
    arguments = dict(user=os.environ["PGUSER"], host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]),
                     database=os.environ["PGDATABASE"], password=os.environ["PGPASSWORD"], ssl_context=context)
    return pg8000.native.Connection(**{**arguments, **more})


def show(*what):
    print(*(repr(x) for x in what))


def attempt(connection, text, **parameters):
    try:
        rows = connection.run(text, **parameters)
        show(connection.row_count, rows)
    except (DatabaseError, InterfaceError) as error:
        # Lines in the server's source are its own affair, but they are the same both ways.
        show("error", sorted(error.args[0].items()) if isinstance(error.args[0], dict) else error.args)


def masked(connection):
    for row in connection.run("SELECT id, name, email, phone, ssn, iban, birth_date, city FROM people ORDER BY id"):
        show(*row)
    show(connection.run("SELECT email FROM people WHERE id = :id", id=7))


def main():
    connection = connect()
    if sys.argv[1:] == ["masked"]:
        return masked(connection)
    show(sorted((k, v) for k, v in connection.parameter_statuses.items()))
    rows = connection.run("SELECT id, flag, small, big, single, twice, exact, words, fixed, raw, doc, docb, ids, names, day, clock,"
                          " moment::text, instant, span::text, uid, address, network, whole, spot, mood, made, bits FROM driver.typed ORDER BY id")
    show([(column["name"], column["type_oid"] < 16384) for column in connection.columns])
    for row in rows:
        show(*row)
    for value in (1, -1, 2**40, 1.5, True, None, "ünïcödé ☃", b"\x00\xff", [1, 2]):
        attempt(connection, "SELECT :value AS value", value=value)
    statement = connection.prepare("SELECT cast(:n AS int) * 2")
    show("prepared", sum(statement.run(n=n)[0][0] for n in range(200)))
    statement.close()
    for text in ("INSERT INTO driver.items VALUES (1, 'bolt', 2.5)", "INSERT INTO driver.items VALUES (1, 'again', 1)",
                 "INSERT INTO driver.items VALUES (2, 'free', -1)", "INSERT INTO driver.items VALUES (3, NULL, 1)",
                 "SELECT * FROM driver.no_such_table", "SELECT missing FROM driver.items", "SELEC 1", "SELECT 'abc'::int",
                 "SELECT driver.fails()", "SELECT 1/0", "", "SELECT 1; SELECT 'two'; SELECT 1/0"):
        attempt(connection, text)
    attempt(connection, "SELECT driver.says(:what)", what="bell")
    show("notices", [sorted(notice.items()) for notice in connection.notices])
    attempt(connection, "START TRANSACTION")
    attempt(connection, "INSERT INTO driver.items VALUES (10, 'kept', 1)")
    attempt(connection, "SAVEPOINT s")
    attempt(connection, "INSERT INTO driver.items VALUES (10, 'dup', 1)")
    attempt(connection, "SELECT 'in a failed transaction'")
    attempt(connection, "ROLLBACK TO SAVEPOINT s")
    attempt(connection, "COMMIT")
    attempt(connection, "SELECT id, name, price FROM driver.items ORDER BY id")
    data = "".join(f"{n}\tnote {n}\t\\\\x{'00' * (n % 9)}\n" for n in range(5000))
    connection.run("COPY driver.copied FROM STDIN", stream=io.BytesIO(data.encode()))
    show("copied", connection.row_count)
    try:
        connection.run("COPY driver.copied FROM STDIN", stream=io.BytesIO(b"not a number\n"))
    except DatabaseError as error:
        show("error", sorted(error.args[0].items()))
    for form in ("", " WITH (FORMAT csv)", " WITH (FORMAT binary)"):
        out = io.BytesIO()
        connection.run("COPY (SELECT * FROM driver.copied ORDER BY id) TO STDOUT" + form, stream=out)
        show("copy out", form, hashlib.sha256(out.getvalue()).hexdigest())
    other = connect()
    attempt(connection, "LISTEN driver_news")
    attempt(other, "NOTIFY driver_news, 'from another'")
    pid = other.run("SELECT pg_backend_pid()")[0][0]
    while not connection.notifications:
        connection.run("SELECT 1")
    show("news", [(channel, payload, backend == pid) for backend, channel, payload in connection.notifications])
    text, raw = "ü☃ab" * 262144, bytes(range(256)) * 4096
    connection.run("INSERT INTO driver.large VALUES (1, :text, :raw)", text=text, raw=raw)
    back = connection.run("SELECT body, raw FROM driver.large")[0]
    show("large", back[0] == text, back[1] == raw)
    mine = connection.run("SELECT pg_backend_pid()")[0][0]

    def cancel():
        while not other.run("SELECT 1 FROM pg_stat_activity WHERE pid = :pid AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'", pid=mine):
            pass
        # The driver has no cancel request of its own: the server's function.
        other.run("SELECT pg_cancel_backend(:pid)", pid=mine)

    thread = threading.Thread(target=cancel)
    thread.start()
    attempt(connection, "SELECT pg_sleep(600)")
    thread.join()
    attempt(connection, "SELECT 'goes on'")
    for unhappy in ({"user": "nobody_of_that_name"}, {"database": "no_such_database"}):
        try:
            connect(**unhappy)
        except DatabaseError as error:
            show("refused", sorted(error.args[0].items()))
    connection.close()
    other.close()


main()
