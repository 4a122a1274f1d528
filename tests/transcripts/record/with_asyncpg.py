"""Recorded with asyncpg: named prepared statements, binary formats, portals with row limits, COPY, reset."""
import asyncio
import io

import asyncpg


async def main():
    c = await asyncpg.connect(ssl=False)
    print(await c.fetch("SELECT id, email FROM people WHERE id < $1 ORDER BY id", 9))
    print(await c.fetchval("SELECT $1::numeric + 1", 41))
    await c.execute("CREATE TEMPORARY TABLE t (a int); INSERT INTO t VALUES (1); SELECT 1")
    await c.executemany("INSERT INTO notes VALUES ($1, $2)", [(1, "a"), (2, "b"), (3, None)])
    try:
        await c.executemany("INSERT INTO t VALUES (10 / $1)", [(1,), (0,), (2,)])
    except asyncpg.PostgresError as e:
        print(e.sqlstate)
    for wrong in ("SELEC 1", "SELECT * FROM no_such_table", "SELECT 1/0"):
        try:
            await c.fetch(wrong)
        except asyncpg.PostgresError as e:
            print(e.sqlstate)
    async with c.transaction():
        async for row in c.cursor("SELECT n FROM generate_series(1, 5) AS n", prefetch=2):
            print(row)
        k = await c.cursor("SELECT n FROM generate_series(1, 9) AS n")
        print(await k.fetch(2), await k.forward(3), await k.fetch(9))
    print(await c.copy_records_to_table("notes", records=[(4, "d")]))
    out = io.BytesIO()
    print(await c.copy_from_query("SELECT n FROM generate_series(1, 3) AS n", output=out))
    await c.reset()
    await c.close()

asyncio.run(main())
