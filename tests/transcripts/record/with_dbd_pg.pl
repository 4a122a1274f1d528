# Recorded with DBD::Pg: libpq from Perl, prepared statements of the server, COPY, asynchronous queries.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async);

my $db = DBI->connect('dbi:Pg:', '', '', { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
print join(',', map { "@$_" } @{ $db->selectall_arrayref('SELECT id, email FROM people WHERE id < ? ORDER BY id', undef, 9) }), "\n";
my $twice = $db->prepare('SELECT ?::int * 2', { pg_server_prepare => 1 });
for my $n (0 .. 2) { $twice->execute($n); print $twice->fetchrow_array, "\n" }
for my $wrong ('SELEC 1', 'SELECT 1/0') { eval { $db->do($wrong) } or print $db->state, "\n" }
$db->begin_work;
$db->do('INSERT INTO notes VALUES (?, ?)', undef, 3, 'perl');
$db->pg_savepoint('a');
eval { $db->do('SELECT * FROM no_such_table') } or print $db->state, "\n";
$db->pg_rollback_to('a');
$db->rollback;
$db->do('COPY notes FROM STDIN');
$db->pg_putcopydata("4\tfour\n");
$db->pg_putcopyend;
$db->do('COPY (SELECT n FROM generate_series(1, 3) AS n) TO STDOUT');
my $row;
print $row while $db->pg_getcopydata($row) >= 0;
my $later = $db->prepare('SELECT 42', { pg_async => PG_ASYNC });
$later->execute;
print $db->pg_result, "\n";
$db->disconnect;
