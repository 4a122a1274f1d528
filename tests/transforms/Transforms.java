// pgjdbc: every value of the named tables, decoded from text and, once the statement is prepared on the server, from
// binary. Run from source by `java Transforms.java`, with the driver on the class path.

import java.sql.*;
import java.util.*;

class Transforms {
    public static void main(String[] tables) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        Map<String, String> env = System.getenv();
        for (String table : tables) {
            Properties p = new Properties();
            p.setProperty("user", env.get("PGUSER"));
            p.setProperty("password", env.get("PGPASSWORD"));
            p.setProperty("sslmode", "disable");
            // From the second execution on.
            p.setProperty("prepareThreshold", "2");
            String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
            try (Connection c = DriverManager.getConnection(url, p);
                 PreparedStatement s = c.prepareStatement("SELECT * FROM " + table + " ORDER BY id")) {
                for (String form : List.of("text", "second", "binary")) rows(table, form, s.executeQuery());
            }
        }
    }

    static void rows(String table, String form, ResultSet r) throws SQLException {
        ResultSetMetaData meta = r.getMetaData();
        while (r.next()) {
            for (int i = 2; i <= meta.getColumnCount(); i++) {
                // A cursor's name would be fetched from.
                boolean isCursor = meta.getColumnTypeName(i).equals("refcursor");
                Object value = isCursor ? r.getString(i) : r.getObject(i);
                if (value instanceof SQLXML x) value = x.getString();
                String shown = value instanceof byte[] b ? HexFormat.of().formatHex(b) : String.valueOf(value);
                System.out.println(String.join("\t", table, form, r.getString(1), meta.getColumnName(i), shown));
            }
        }
    }
}
