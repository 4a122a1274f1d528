"""A session over direct TLS by libpq as it is, everything that it says of itself printed; no times, no process ids."""

import threading

import psycopg

assert psycopg.pq.version() >= 170000, psycopg.pq.version()


def main():
    try:
        session = psycopg.connect(autocommit=True)
    except psycopg.OperationalError as error:
        print("refused:", " ".join(str(error).split()))
        return
    with session:
        info = session.info
        print("libpq", psycopg.pq.version() // 10000, "server", info.server_version // 10000)
        print("tls in use", session.pgconn.ssl_in_use, "password used", session.pgconn.used_password)
        print(session.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchall())
        print("its own process", info.backend_pid == session.execute("SELECT pg_backend_pid()").fetchone()[0])
        print(session.execute("SELECT %s::int + 1, repeat('x', 100000)", [41]).fetchone()[0])
        with session.cursor().copy("COPY (SELECT n FROM generate_series(1, 1000) n) TO STDOUT") as copy:
            print("copied", sum(len(piece) for piece in copy))
        # libpq's cancel is direct TLS of its own. Again and again: one before the statement runs is for nobody.
        done = threading.Event()

        def cancel():
            while not done.wait(0.2):
                session.cancel_safe()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            session.execute("SELECT pg_sleep(60)")
        except psycopg.errors.QueryCanceled as error:
            print("cancelled:", error.diag.sqlstate)
        finally:
            done.set()
            canceller.join()


main()
