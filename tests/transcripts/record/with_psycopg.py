"""Recorded with psycopg 3: parameters in text and binary, prepared statements, pipelines, COPY, server-side cursors."""
import psycopg

with psycopg.connect(autocommit=True) as c:
    print(c.execute("SELECT %s::int + 1, %s::text", (41, "text")).fetchall())
    print(c.cursor(binary=True).execute("SELECT id, email FROM people WHERE id < %s ORDER BY id", (9,)).fetchall())
    for n in range(3):
        c.execute("INSERT INTO notes VALUES (%s, %s)", (n, "again"), prepare=True)
    with c.pipeline():
        c.execute("SELECT 1")
        c.execute("SELECT %s", (2,))
        c.execute("INSERT INTO notes VALUES (%s, 'in a pipeline')", (5,))
    try:
        with c.pipeline():
            c.execute("SELECT 1")
            c.execute("SELECT 1/%s", (0,))
            c.execute("SELECT 3")
    except psycopg.Error as e:
        print(e.sqlstate)
    with c.cursor() as k:
        with k.copy("COPY notes FROM STDIN") as out:
            out.write_row((8, "eight"))
            out.write_row((9, None))
        try:
            with k.copy("COPY notes FROM STDIN") as out:
                out.write("wrong\tx\n")
        except psycopg.Error as e:
            print(e.sqlstate)
        with k.copy("COPY (SELECT n, 'x' FROM generate_series(1, 3) AS n) TO STDOUT (FORMAT binary)") as rows:
            print(sum(len(bytes(b)) for b in rows))
    try:
        with c.transaction():
            c.execute("SELECT * FROM no_such_table")
    except psycopg.Error as e:
        print(e.sqlstate)
    with c.transaction():
        with c.cursor(name="k") as k:
            k.itersize = 2
            print(list(k.execute("SELECT n FROM generate_series(1, 5) AS n")))
