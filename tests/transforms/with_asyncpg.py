"""asyncpg: every value of the named tables, decoded from binary."""
import asyncio
import os
import sys

import asyncpg


async def main():
    for table in sys.argv[1:]:
        connection = await asyncpg.connect(
            host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user=os.environ["PGUSER"],
            password=os.environ["PGPASSWORD"], database=os.environ["PGDATABASE"], ssl=False)
        # Before it looks up a type the driver turns JIT off by set_config, which agents may not call.
        connection._server_caps = connection._server_caps._replace(jit=False)
        for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY id"):
            for name, value in list(row.items())[1:]:
                # A path shows its points only when asked.
                value = list(value) if isinstance(value, asyncpg.Path) else value
                print(table, "binary", row["id"], name, repr(value), sep="\t")
        await connection.close()


asyncio.run(main())
