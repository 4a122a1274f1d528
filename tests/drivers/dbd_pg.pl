# DBD::Pg: libpq from Perl, with server-side prepared statements.
use strict;
use warnings;
use utf8;
use DBI qw(:sql_types);
use DBD::Pg qw(:pg_types :async);
use Digest::SHA qw(sha256_hex);
binmode STDOUT, ':utf8';
$| = 1;

# Host, port, user, database and password come from the environment.
sub dial { DBI->connect('dbi:Pg:', '', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1, @_ }) }

sub text {
    my ($x) = @_;
    return 'undef' unless defined $x;
    return '[' . join(', ', map { text($_) } @$x) . ']' if ref $x eq 'ARRAY';
    return "'$x'";
}
sub show { print join(' | ', map { text($_) } @_), "\n" }

my $db = dial();

sub failure {
    show('error', $db->state, $db->errstr, map { $db->pg_error_field($_) } qw(severity message_primary
        message_detail message_hint statement_position context schema_name table_name column_name datatype_name constraint_name));
}

sub attempt {
    my ($sql, @values) = @_;
    eval {
        my $s = $db->prepare($sql);
        my $count = $s->execute(@values);
        if ($s->{NUM_OF_FIELDS}) { show($s->{NAME}, $s->{pg_type}); show(@$_) for @{ $s->fetchall_arrayref } }
        else { show('count', $count) }
        1;
    } or failure();
}

if (@ARGV && $ARGV[0] eq 'masked') {
    attempt('SELECT id, name, email, phone, ssn, iban, birth_date, city FROM people ORDER BY id');
    attempt('SELECT email FROM people WHERE id = ?', 7);
    exit 0;
}

my @notices;
local $SIG{__WARN__} = sub { push @notices, $_[0] };
$db->{PrintWarn} = 1;

show($db->{pg_server_version}, $db->{pg_lib_version});
show('pid', $db->{pg_pid} == $db->selectrow_array('SELECT pg_backend_pid()'));
attempt('SELECT id, flag, small, big, single, twice, exact, words, fixed, raw, doc, docb, ids, names, day, clock, moment, instant, span,'
    . ' uid, address, network, whole, spot, mood, made::text, bits FROM driver.typed ORDER BY id');
attempt('SELECT ?::int + 1, ?::text', 41, 'ünïcödé ☃');
attempt('SELECT ?::int[]', [1, 2, 3]);
my $s = $db->prepare('SELECT ?::int * 2', { pg_server_prepare => 1 });
my $total = 0;
for my $n (0 .. 199) { $s->execute($n); $total += $s->fetchrow_array }
show('prepared', $total);
attempt($_) for "INSERT INTO driver.items VALUES (1, 'bolt', 2.5)", "INSERT INTO driver.items VALUES (1, 'again', 1)",
    "INSERT INTO driver.items VALUES (2, 'free', -1)", "INSERT INTO driver.items VALUES (3, NULL, 1)", 'SELECT * FROM driver.no_such_table',
    'SELECT missing FROM driver.items', 'SELEC 1', "SELECT 'abc'::int", 'SELECT driver.fails()', 'SELECT 1/0';
attempt('SELECT driver.says(?)', 'bell');
show('notices', @notices);

$db->begin_work;
attempt("INSERT INTO driver.items VALUES (10, 'kept', 1)");
$db->pg_savepoint('s');
attempt("INSERT INTO driver.items VALUES (10, 'dup', 1)");
attempt("SELECT 'in a failed transaction'");
show('ping', $db->ping);
$db->pg_rollback_to('s');
$db->commit;
attempt('SELECT id, name, price FROM driver.items ORDER BY id');

$db->do('COPY driver.copied FROM STDIN');
$db->pg_putcopydata("$_\tnote $_\t\\\\x" . '00' x ($_ % 9) . "\n") for 0 .. 4999;
show('copied', $db->pg_putcopyend);
$db->do('COPY driver.copied FROM STDIN');
$db->pg_putcopydata("not a number\n");
eval { $db->pg_putcopyend; 1 } or failure();
for my $form ('', ' WITH (FORMAT csv)') {
    $db->do("COPY (SELECT * FROM driver.copied ORDER BY id) TO STDOUT$form");
    my ($all, $line) = ('', '');
    $all .= $line while $db->pg_getcopydata($line) >= 0;
    show('copy out', $form, sha256_hex($all));
}

my $other = dial();
$db->do('LISTEN driver_news');
$other->do("NOTIFY driver_news, 'from another'");
my $news;
until ($news = $db->pg_notifies) { }
show('news', $news->[0], $news->[2], $news->[1] == $other->{pg_pid});

$s = $db->prepare('INSERT INTO driver.items VALUES (?, ?, ?)');
show('many', scalar $s->execute_array({}, [100 .. 299], [map { "n$_" } 100 .. 299], [100 .. 299]));
attempt('SELECT count(*), sum(price) FROM driver.items');

my ($text, $raw) = ('ü☃ab' x 262144, join('', map { chr } 0 .. 255) x 4096);
$s = $db->prepare('INSERT INTO driver.large VALUES (1, ?, ?)');
$s->bind_param(1, $text);
$s->bind_param(2, $raw, { pg_type => PG_BYTEA });
$s->execute;
my @back = $db->selectrow_array('SELECT body, raw FROM driver.large');
show('large', $back[0] eq $text, $back[1] eq $raw);

# Sent and left alone; cancelled once the server runs it.
$s = $db->prepare('SELECT pg_sleep(600)', { pg_async => PG_ASYNC });
$s->execute;
until ($other->selectrow_array("SELECT 1 FROM pg_stat_activity WHERE pid = $db->{pg_pid} AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'")) { }
show('cancelled', $db->pg_cancel);
attempt("SELECT 'goes on'");
show(sort map { $_->[2] } @{ $db->table_info('', 'driver', '%', 'TABLE')->fetchall_arrayref([0 .. 3]) });
eval { DBI->connect('dbi:Pg:dbname=no_such_database', '', '', { RaiseError => 1, PrintError => 0 }); 1 }
    or show('refused', $DBI::errstr =~ /(FATAL:.*)/);
$other->disconnect;
$db->disconnect;
