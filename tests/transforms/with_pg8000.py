"""pg8000: every value of the named tables, decoded from text."""
import os
import sys

import pg8000.native

for table in sys.argv[1:]:
    connection = pg8000.native.Connection(
        os.environ["PGUSER"], host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]),
        password=os.environ["PGPASSWORD"], database=os.environ["PGDATABASE"])
    rows = connection.run(f"SELECT * FROM {table} ORDER BY id")
    names = [column["name"] for column in connection.columns]
    for row in rows:
        for name, value in list(zip(names, row))[1:]:
            print(table, "text", row[0], name, repr(value), sep="\t")
    connection.close()
