"""Recorded with pg8000: a protocol implementation of its own; Flush instead of Sync."""
import io
import os

import pg8000.native
from pg8000.exceptions import DatabaseError

c = pg8000.native.Connection(user=os.environ["PGUSER"], host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]),
                             database=os.environ["PGDATABASE"], password=os.environ["PGPASSWORD"], ssl_context=False)
print(c.run("SELECT id, email FROM people WHERE id < :n ORDER BY id", n=9))
print(c.run("SELECT 1; SELECT 2"))
ps = c.prepare("SELECT CAST(:a AS int) + 1")
print(ps.run(a=41), ps.run(a=1))
ps.close()
for wrong in ("SELEC 1", "SELECT 1/0"):
    try:
        c.run(wrong)
    except DatabaseError as e:
        print(e.args[0]["C"])
c.run("START TRANSACTION")
c.run("INSERT INTO notes VALUES (:i, :t)", i=1, t="pg8000")
c.run("ROLLBACK")
c.run("COPY notes FROM STDIN", stream=io.BytesIO(b"1\tone\n2\ttwo\n"))
out = io.BytesIO()
c.run("COPY (SELECT n FROM generate_series(1, 3) AS n) TO STDOUT", stream=out)
print(out.getvalue())
c.close()
