// Recorded with pgjdbc: simple and extended mode, batches, server-side prepared statements, fetch size, COPY.
import java.io.StringReader;
import java.sql.*;
import org.postgresql.PGConnection;

public class Jdbc {
    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
            + "?sslmode=disable&prepareThreshold=2&user=" + System.getenv("PGUSER");
        try (Connection c = DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"))) {
            for (int i = 0; i < 4; i++) {
                try (PreparedStatement p = c.prepareStatement("SELECT id, email FROM people WHERE id < ? ORDER BY id")) {
                    p.setInt(1, 9);
                    ResultSet r = p.executeQuery();
                    while (r.next()) System.out.println(r.getInt(1));
                }
            }
            c.setAutoCommit(false);
            try (PreparedStatement p = c.prepareStatement("INSERT INTO notes VALUES (?, ?)")) {
                for (int i = 0; i < 5; i++) {
                    p.setInt(1, i);
                    p.setString(2, "batch");
                    p.addBatch();
                }
                System.out.println(p.executeBatch().length);
            }
            try (Statement s = c.createStatement()) {
                s.setFetchSize(2);
                ResultSet r = s.executeQuery("SELECT n FROM generate_series(1, 5) AS n");
                while (r.next()) System.out.println(r.getInt(1));
            }
            Savepoint point = c.setSavepoint();
            for (String wrong : new String[] {"SELEC 1", "SELECT 1/0"}) {
                try (Statement s = c.createStatement()) {
                    s.execute(wrong);
                } catch (SQLException e) {
                    System.out.println(e.getSQLState());
                    c.rollback(point);
                }
            }
            c.rollback();
            c.setAutoCommit(true);
            System.out.println(c.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY notes FROM STDIN", new StringReader("1\tone\n")));
        }
    }
}
