"""psycopg 3: finds rows by what it was shown of them, as text, in binary, prepared on the server and in a pipeline."""
import psycopg

with psycopg.connect(autocommit=True) as connection:
    token = connection.execute("SELECT email FROM clients WHERE id = 2").fetchone()[0]
    print(token.split("_")[0])
    for placeholder in ("%s", "%t", "%b"):
        found = connection.execute(f"SELECT id, email FROM clients WHERE email = {placeholder}", [token]).fetchall()
        print(found == [(2, token)])
    for _ in range(8):
        found = connection.execute("SELECT id FROM clients WHERE email = %s", [token], prepare=True).fetchall()
    print(found)
    with connection.pipeline():
        cursors = [connection.execute("SELECT id FROM clients WHERE email IN (%s, %s)", [token, token]) for _ in range(3)]
    print([cursor.fetchall() for cursor in cursors])
    try:
        connection.execute("SELECT id FROM clients WHERE email = %s", ["two@example.org"])
    except psycopg.Error as error:
        print(error.sqlstate, "bind the token" in error.diag.message_hint)
    try:
        connection.execute("SELECT id FROM clients WHERE email = '" + token + "'")
    except psycopg.Error as error:
        print(error.sqlstate, "bind the token" in error.diag.message_hint)
