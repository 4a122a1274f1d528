"""asyncpg: prepares everything, and binds in binary format."""
import asyncio

import asyncpg


async def work():
    connection = await asyncpg.connect(ssl=False)
    token = await connection.fetchval("SELECT email FROM clients WHERE id = 2")
    print(token.split("_")[0])
    for column in ("email", "mail"):
        statement = await connection.prepare(f"SELECT id FROM clients WHERE {column} = $1")
        for _ in range(7):
            found = await statement.fetch(token)
        print(column, [row["id"] for row in found])
    async with connection.transaction():
        print(await connection.fetch("SELECT id FROM clients WHERE email = $1 AND id = $2", token, 2))
    try:
        await connection.fetch("SELECT id FROM clients WHERE email = $1", "two@example.org")
    except asyncpg.PostgresError as error:
        print(error.sqlstate, "bind the token" in error.hint)
    await connection.close()


asyncio.run(work())
