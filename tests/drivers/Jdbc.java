// pgjdbc: run from source by `java Jdbc.java`, with the driver on the class path.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.security.MessageDigest;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

class Jdbc {
    static String environment(String name) { return System.getenv(name); }

    static Connection connect(String... more) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", environment("PGUSER"));
        p.setProperty("password", environment("PGPASSWORD"));
        String root = environment("PGSSLROOTCERT");
        p.setProperty("sslmode", root == null ? "disable" : "verify-full");
        if (root != null) p.setProperty("sslrootcert", root);
        String database = environment("PGDATABASE");
        for (int i = 0; i < more.length; i += 2) {
            if (more[i].equals("database")) database = more[i + 1]; else p.setProperty(more[i], more[i + 1]);
        }
        return DriverManager.getConnection(
            "jdbc:postgresql://" + environment("PGHOST") + ":" + environment("PGPORT") + "/" + database, p);
    }

    static void show(Object... what) {
        StringJoiner line = new StringJoiner(" | ");
        for (Object x : what) line.add(text(x));
        System.out.println(line);
    }

    static String text(Object x) {
        if (x instanceof byte[] b) return "bytes " + HexFormat.of().formatHex(b);
        if (x instanceof Object[] a) return Arrays.deepToString(a);
        if (x instanceof java.sql.Array a) return "array " + a;
        return String.valueOf(x);
    }

    static void failure(SQLException e) {
        ServerErrorMessage m = e instanceof PSQLException p ? p.getServerErrorMessage() : null;
        if (m == null) { show("error", e.getSQLState(), e.getMessage()); return; }
        show("error", m.getSQLState(), m.getSeverity(), m.getMessage(), m.getDetail(), m.getHint(), m.getPosition(), m.getWhere(),
            m.getSchema(), m.getTable(), m.getColumn(), m.getDatatype(), m.getConstraint(), m.getRoutine());
    }

    static void rows(ResultSet r) throws SQLException {
        ResultSetMetaData meta = r.getMetaData();
        StringJoiner names = new StringJoiner(",");
        for (int i = 1; i <= meta.getColumnCount(); i++) names.add(meta.getColumnName(i) + ":" + meta.getColumnTypeName(i));
        show(names);
        while (r.next()) {
            Object[] row = new Object[meta.getColumnCount()];
            for (int i = 0; i < row.length; i++) {
                String type = meta.getColumnTypeName(i + 1);
                // As Java values where that is the same on every host.
                row[i] = Set.of("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "bytea", "uuid").contains(type)
                    ? r.getObject(i + 1) : r.getString(i + 1);
            }
            show(row);
        }
    }

    static void attempt(Connection c, String sql, Object... values) {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            boolean more = s.execute();
            while (more || s.getUpdateCount() >= 0) {
                if (more) rows(s.getResultSet()); else show("count", s.getUpdateCount());
                more = s.getMoreResults();
            }
            for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) show("warning", w.getSQLState(), w.getMessage());
        } catch (SQLException e) {
            failure(e);
        }
    }

    static String digest(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }

    static void masked() throws Exception {
        // Text at first; binary once the statement is prepared on the server.
        try (Connection c = connect("prepareThreshold", "2");
             PreparedStatement s = c.prepareStatement("SELECT id, name, email, phone, ssn, iban, birth_date, city FROM people ORDER BY id")) {
            for (int i = 0; i < 4; i++) rows(s.executeQuery());
        }
        try (Connection c = connect("prepareThreshold", "1");
             PreparedStatement s = c.prepareStatement("SELECT array_agg(email), array_agg(birth_date), p FROM people p GROUP BY p.id ORDER BY p.id")) {
            for (int i = 0; i < 3; i++) rows(s.executeQuery());
            for (String form : List.of("", " (FORMAT csv, HEADER)", " (FORMAT binary)")) {
                var out = new ByteArrayOutputStream();
                c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY people TO STDOUT" + form, out);
                show("copy out", form, out.toString("ISO-8859-1"));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        Locale.setDefault(Locale.ROOT);
        if (arguments.length > 0 && arguments[0].equals("masked")) { masked(); return; }
        for (String mode : List.of("extended", "simple", "extendedForPrepared", "extendedCacheEverything")) mode(mode);
        all();
    }

    /** The same statements in each of the driver's ways to send one. */
    static void mode(String mode) throws Exception {
        show("== mode", mode);
        try (Connection c = connect("preferQueryMode", mode, "prepareThreshold", "1")) {
            attempt(c, "SELECT ? + 1 AS n", 41);
            attempt(c, "SELECT 1; SELECT 'two'");
            attempt(c, "SELECT 1/0");
            c.setAutoCommit(false);
            attempt(c, "SELECT 1/0");
            attempt(c, "SELECT 'in a failed transaction'");
            c.rollback();
        }
    }

    static void all() throws Exception {
        Connection c = connect("prepareThreshold", "3", "ApplicationName", "driver test");
        PGConnection pg = c.unwrap(PGConnection.class);
        Map<String, String> statuses = new TreeMap<>(pg.getParameterStatuses());
        show(statuses);
        try (ResultSet r = c.createStatement().executeQuery("SELECT pg_backend_pid()")) {
            r.next();
            show("pid", r.getInt(1) == pg.getBackendPID());
        }
        String typed = "SELECT id, flag, small, big, single, twice, exact, words, fixed, raw, doc, docb, ids, names, day, clock, moment,"
            + " instant, span, uid, address, network, whole, spot, mood, made, bits FROM driver.typed ORDER BY id";
        // From the third run on the server's statement has a name and results come in binary.
        try (PreparedStatement s = c.prepareStatement(typed)) {
            for (int i = 0; i < 5; i++) rows(s.executeQuery());
        }
        for (Object value : new Object[] {1, -1, 1L << 40, 1.5, true, "ünïcödé ☃", new byte[] {0, -1}, UUID.fromString("6f9619ff-8b86-d011-b42d-00c04fc964ff")})
            attempt(c, "SELECT ? AS value", value);
        long total = 0;
        try (PreparedStatement s = c.prepareStatement("SELECT ?::int * 2")) {
            for (int n = 0; n < 200; n++) {
                s.setInt(1, n);
                try (ResultSet r = s.executeQuery()) { r.next(); total += r.getLong(1); }
            }
        }
        show("prepared", total);
        for (String sql : List.of("INSERT INTO driver.items VALUES (1, 'bolt', 2.5)", "INSERT INTO driver.items VALUES (1, 'again', 1)",
                "INSERT INTO driver.items VALUES (2, 'free', -1)", "INSERT INTO driver.items VALUES (3, NULL, 1)",
                "SELECT * FROM driver.no_such_table", "SELECT missing FROM driver.items", "SELEC 1", "SELECT 'abc'::int",
                "SELECT driver.fails()", "SELECT 1/0", "", "SELECT 1; SELECT 'two'; SELECT 1/0")) attempt(c, sql);
        attempt(c, "SELECT driver.says(?)", "bell");
        try (CallableStatement call = c.prepareCall("CALL driver.doubles(?)")) {
            call.setInt(1, 21);
            call.registerOutParameter(1, Types.INTEGER);
            call.execute();
            show("call", call.getInt(1));
        }

        c.setAutoCommit(false);
        attempt(c, "INSERT INTO driver.items VALUES (10, 'kept', 1)");
        Savepoint savepoint = c.setSavepoint();
        attempt(c, "INSERT INTO driver.items VALUES (10, 'dup', 1)");
        attempt(c, "SELECT 'in a failed transaction'");
        c.rollback(savepoint);
        c.commit();
        try (PreparedStatement s = c.prepareStatement("SELECT n FROM generate_series(1, 30) n")) {
            s.setFetchSize(7);
            int sum = 0;
            try (ResultSet r = s.executeQuery()) { while (r.next()) sum += r.getInt(1); }
            show("fetched", sum);
        }
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
             ResultSet r = s.executeQuery("SELECT id, name FROM driver.items ORDER BY id")) {
            r.last();
            r.updateString("name", "renamed");
            r.updateRow();
        }
        c.commit();
        c.setAutoCommit(true);
        attempt(c, "SELECT id, name, price FROM driver.items ORDER BY id");

        StringBuilder data = new StringBuilder();
        for (int n = 0; n < 5000; n++) data.append(n).append("\tnote ").append(n).append("\t\\\\x").append("00".repeat(n % 9)).append('\n');
        show("copied", pg.getCopyAPI().copyIn("COPY driver.copied FROM STDIN", new ByteArrayInputStream(data.toString().getBytes("UTF-8"))));
        try {
            pg.getCopyAPI().copyIn("COPY driver.copied FROM STDIN", new ByteArrayInputStream("not a number\n".getBytes()));
        } catch (SQLException e) { failure(e); }
        var given = pg.getCopyAPI().copyIn("COPY driver.copied FROM STDIN");
        given.writeToCopy("1\tx\t\n".getBytes(), 0, 5);
        given.cancelCopy();
        for (String form : List.of("", " WITH (FORMAT csv)", " WITH (FORMAT binary)")) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            pg.getCopyAPI().copyOut("COPY (SELECT * FROM driver.copied ORDER BY id) TO STDOUT" + form, out);
            show("copy out", form, digest(out.toByteArray()));
        }

        Connection other = connect();
        attempt(c, "LISTEN driver_news");
        attempt(other, "NOTIFY driver_news, 'from another'");
        for (PGNotification n : pg.getNotifications(20000))
            show("news", n.getName(), n.getParameter(), n.getPID() == other.unwrap(PGConnection.class).getBackendPID());

        try (PreparedStatement s = c.prepareStatement("INSERT INTO driver.items VALUES (?, ?, ?)")) {
            for (int n = 100; n < 400; n++) { s.setInt(1, n); s.setString(2, "n" + n); s.setInt(3, n); s.addBatch(); }
            show("batch", Arrays.stream(s.executeBatch()).sum());
            for (int n = 398; n < 404; n++) { s.setInt(1, n); s.setString(2, "n" + n); s.setInt(3, n); s.addBatch(); }
            s.executeBatch();
        } catch (BatchUpdateException e) {
            show("batch", Arrays.toString(e.getUpdateCounts()));
            failure((SQLException) e.getCause());
        }
        try (PreparedStatement s = c.prepareStatement("INSERT INTO driver.items (id, name) VALUES (?, 'key')", Statement.RETURN_GENERATED_KEYS)) {
            s.setInt(1, 999);
            s.executeUpdate();
            rows(s.getGeneratedKeys());
        }
        attempt(c, "SELECT count(*), sum(price) FROM driver.items");

        String text = "ü☃ab".repeat(262144);
        byte[] raw = new byte[1 << 20];
        for (int i = 0; i < raw.length; i++) raw[i] = (byte) i;
        try (PreparedStatement s = c.prepareStatement("INSERT INTO driver.large VALUES (1, ?, ?)")) {
            s.setString(1, text);
            s.setBytes(2, raw);
            s.executeUpdate();
        }
        try (ResultSet r = c.createStatement().executeQuery("SELECT body, raw FROM driver.large")) {
            r.next();
            show("large", r.getString(1).equals(text), Arrays.equals(r.getBytes(2), raw));
        }

        int pid = pg.getBackendPID();
        Statement sleeping = c.createStatement();
        Thread canceller = new Thread(() -> {
            try (PreparedStatement s = other.prepareStatement(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = ? AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'")) {
                s.setInt(1, pid);
                while (true) try (ResultSet r = s.executeQuery()) { if (r.next()) break; }
                sleeping.cancel();
            } catch (SQLException e) { failure(e); }
        });
        canceller.start();
        try { sleeping.execute("SELECT pg_sleep(600)"); } catch (SQLException e) { failure(e); }
        canceller.join();
        attempt(c, "SELECT 'goes on'");
        DatabaseMetaData meta = c.getMetaData();
        try (ResultSet r = meta.getColumns(null, "driver", "items", null)) {
            while (r.next()) show("column", r.getString("COLUMN_NAME"), r.getString("TYPE_NAME"), r.getInt("COLUMN_SIZE"), r.getString("IS_NULLABLE"));
        }
        try (ResultSet r = meta.getPrimaryKeys(null, "driver", "items")) { while (r.next()) show("key", r.getString("COLUMN_NAME")); }
        for (String[] unhappy : new String[][] {{"user", "nobody_of_that_name"}, {"database", "no_such_database"}, {"options", "-c no_such_setting=1"}}) {
            try { connect(unhappy).close(); } catch (SQLException e) { failure(e); }
        }
        other.close();
        c.close();
    }
}
