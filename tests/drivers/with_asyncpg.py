"""asyncpg: everything in binary, every statement prepared."""
import asyncio
import hashlib
import io
import os
import sys

import asyncpg


def show(*what):
    print(*(repr(x) for x in what))


def failure(error):
    show("error", type(error).__name__, getattr(error, "sqlstate", None), str(error), *(getattr(error, name, None) for name in (
        "severity", "detail", "hint", "position", "context", "schema_name", "table_name", "column_name", "constraint_name")))


async def attempt(connection, text, *parameters):
    try:
        show([tuple(row) for row in await connection.fetch(text, *parameters)])
    except asyncpg.PostgresError as error:
        failure(error)


async def connect(**more):
    # No TLS of its own: what sslmode the tests ask for is in the environment.
    return await asyncpg.connect(**more)


async def masked(connection):
    for row in await connection.fetch("SELECT id, name, email, phone, ssn, iban, birth_date, city FROM people ORDER BY id"):
        show(*row)
    show(await connection.fetchval("SELECT email FROM people WHERE id = $1", 7))
    # No arrays: to learn their types asyncpg asks for a setting that an agent may not change.
    for form in ("text", "csv", "binary"):
        out = io.BytesIO()
        show(form, await connection.copy_from_query("SELECT id, name, email, birth_date, ssn, city FROM people ORDER BY id", output=out, format=form))
        show(out.getvalue())
        out = io.BytesIO()
        show(form, await connection.copy_from_table("people", columns=["city", "email"], output=out, format=form))
        show(out.getvalue())


async def main():
    connection = await connect()
    if sys.argv[1:] == ["masked"]:
        return await masked(connection)
    settings = connection.get_settings()
    show([getattr(settings, name) for name in ("client_encoding", "DateStyle", "TimeZone", "is_superuser", "session_authorization")])
    show(connection.get_server_version(), await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid())

    statement = await connection.prepare(
        "SELECT id, flag, small, big, single, twice, exact, words, fixed, raw, doc, docb, ids, names, clock, instant, span, uid,"
        " address, network, whole, spot, mood, made, bits, day FROM driver.typed ORDER BY id")
    show([(a.name, a.type.name, a.type.kind) for a in statement.get_attributes()])
    for row in await statement.fetch():
        show(*row)
    for kind, value in (("int", 5), ("bigint", 2**40), ("float8", 1.5), ("bool", True), ("text", "ünïcödé ☃"), ("bytea", b"\x00\xff"),
                        ("int[]", [1, None]), ("json", '{"a": 1}'), ("jsonb", '{"b": 2}'), ("text", None), ("driver.mood", "sad")):
        await attempt(connection, f"SELECT $1::{kind} AS value", value)

    statement = await connection.prepare("SELECT $1::int * 2")
    show("prepared", sum([await statement.fetchval(n) for n in range(200)]))

    for text in ("INSERT INTO driver.items VALUES (1, 'bolt', 2.5)", "INSERT INTO driver.items VALUES (1, 'again', 1)",
                 "INSERT INTO driver.items VALUES (2, 'free', -1)", "INSERT INTO driver.items VALUES (3, NULL, 1)",
                 "SELECT * FROM driver.no_such_table", "SELECT missing FROM driver.items", "SELEC 1", "SELECT 'abc'::int",
                 "SELECT driver.fails()", "SELECT 1/0", "", "SELECT 1; SELECT 2"):
        await attempt(connection, text)
    show(await connection.execute("SELECT 1; INSERT INTO driver.items VALUES (5, 'simple', 5); UPDATE driver.items SET price = 6"))

    notices = []
    connection.add_log_listener(lambda _, message: notices.append((message.severity, message.message, message.detail, message.hint)))
    await attempt(connection, "SELECT driver.says($1)", "bell")
    await attempt(connection, "CALL driver.doubles($1)", 21)
    # Listeners are called by the loop's next round.
    await attempt(connection, "SELECT 'after the notices'")
    show("notices", notices)

    async with connection.transaction():
        await connection.execute("INSERT INTO driver.items VALUES (10, 'kept', 1)")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO driver.items VALUES (10, 'dup', 1)")
        except asyncpg.PostgresError as error:
            failure(error)
        show([row[0] async for row in connection.cursor("SELECT n FROM generate_series(1, 30) n", prefetch=7)])
        cursor = await connection.cursor("SELECT n FROM generate_series(1, 30) n")
        show(await cursor.fetch(4), await cursor.forward(5), await cursor.fetchrow())
    try:
        async with connection.transaction():
            await attempt(connection, "SELECT 1/0")
            await attempt(connection, "SELECT 'in a failed transaction'")
    except asyncpg.PostgresError as error:
        failure(error)
    await attempt(connection, "SELECT id, name, price FROM driver.items ORDER BY id")

    show(await connection.copy_records_to_table("copied", schema_name="driver", records=[(n, f"note {n}\t", b"\x00" * (n % 9)) for n in range(5000)]))
    show(await connection.copy_to_table("copied", schema_name="driver", source=io.BytesIO(b"7000,x,\n"), format="csv"))
    try:
        await connection.copy_to_table("copied", schema_name="driver", source=io.BytesIO(b"not a number\n"))
    except asyncpg.PostgresError as error:
        failure(error)
    for form in ("text", "csv", "binary"):
        out = io.BytesIO()
        show(form, await connection.copy_from_query("SELECT * FROM driver.copied ORDER BY id", output=out, format=form),
             hashlib.sha256(out.getvalue()).hexdigest())

    other = await connect()
    heard = asyncio.Queue()
    await connection.add_listener("driver_news", lambda _, pid, channel, payload: heard.put_nowait(
        (pid == other.get_server_pid(), channel, payload)))
    await other.execute("NOTIFY driver_news, 'from another'; SELECT pg_notify('driver_news', 'a second')")
    show(await asyncio.wait_for(heard.get(), 20), await asyncio.wait_for(heard.get(), 20))

    await connection.executemany("INSERT INTO driver.items VALUES ($1, $2, $3)", [(n, f"n{n}", n) for n in range(100, 400)])
    try:
        await connection.executemany("INSERT INTO driver.items VALUES ($1, $2, $3)", [(n, f"n{n}", n) for n in range(398, 600)])
    except asyncpg.PostgresError as error:
        failure(error)
    await attempt(connection, "SELECT count(*), sum(price) FROM driver.items")

    text, raw = "ü☃ab" * 262144, bytes(range(256)) * 4096
    await connection.execute("INSERT INTO driver.large VALUES (1, $1, $2)", text, raw)
    back = await connection.fetchrow("SELECT body, raw FROM driver.large")
    show("large", back["body"] == text, back["raw"] == raw)

    pid = connection.get_server_pid()
    # The request must have reached the server when the driver hears that its connection closed: one that
    # comes later would cancel the statement after.
    for _ in range(20):
        sleeping = asyncio.ensure_future(connection.execute("SELECT pg_sleep(600)"))
        while not await other.fetchval("SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'", pid):
            pass
        # asyncpg turns a cancelled task into a cancel request.
        sleeping.cancel()
        try:
            await sleeping
        except asyncio.CancelledError:
            show("cancelled")
        await attempt(connection, "SELECT 'goes on'")
    await connection.reload_schema_state()
    await connection.reset()
    for unhappy in ({"user": "nobody_of_that_name"}, {"database": "no_such_database"}, {"server_settings": {"no_such_setting": "1"}}):
        try:
            await connect(**unhappy)
        except asyncpg.PostgresError as error:
            failure(error)
    await connection.close()


asyncio.run(main())
