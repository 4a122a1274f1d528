"""psycopg 3: every value of the named tables, decoded from text and from binary."""
import sys

import psycopg

for table in sys.argv[1:]:
    # A session for each table; everything else comes from the environment.
    with psycopg.connect(autocommit=True) as connection:
        for form in ("text", "binary"):
            cursor = connection.cursor(binary=form == "binary")
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            names = [column.name for column in cursor.description]
            for row in cursor.fetchall():
                for name, value in list(zip(names, row))[1:]:
                    print(table, form, row[0], name, repr(value), sep="\t")
