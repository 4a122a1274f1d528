// node-postgres: the same work each time, printed without anything that differs from run to run.
'use strict';
const { createHash } = require('crypto');
const { readFileSync } = require('fs');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const pg = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

const show = (...what) => console.log(...what.map((x) => JSON.stringify(x, (_, v) => (typeof v === 'bigint' ? `${v}n` : v))));
const failure = (e) => show('error', e.code, e.severity, e.message, e.detail, e.hint, e.position, e.where, e.schema, e.table,
  e.column, e.dataType, e.constraint, e.routine);

// TLS with everything verified where there is a root to verify with.
function tls() {
  const root = process.env.PGSSLROOTCERT;
  return root ? { ssl: { ca: readFileSync(root) }, enableChannelBinding: true } : { ssl: false };
}

async function connect(more) {
  // Host, port, user, database and password come from the environment.
  const client = new pg.Client({ ...tls(), ...more });
  await client.connect();
  return client;
}

async function attempt(client, text, values) {
  try {
    const results = [await client.query(text, values)].flat();
    for (const r of results) show(r.command, r.rowCount, r.rows, r.fields.map((f) => [f.name, f.format, f.dataTypeID < 16384]));
  } catch (e) {
    failure(e);
  }
}

async function masked(client) {
  const text = 'SELECT id, name, email, phone, ssn, iban, birth_date, city FROM people ORDER BY id';
  for (const row of (await client.query(text)).rows) show(row);
  for (const row of (await client.query({ text: `${text} LIMIT $1`, values: [20], binary: true })).rows) show(row);
  show((await client.query('SELECT email FROM people WHERE id = $1', [7])).rows);
}

async function main() {
  const parameters = {};
  const client = new pg.Client(tls());
  client.connection.on('parameterStatus', (m) => { parameters[m.parameterName] = m.parameterValue; });
  await client.connect();
  if (process.argv[2] === 'masked') {
    await masked(client);
    return client.end();
  }
  show(parameters);
  const pid = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  show('pid', pid === client.processID);

  const typed = 'SELECT id, flag, small, big, single, twice, exact, words, fixed, raw, doc, docb, ids, names, day, clock, moment::text,'
    + ' instant, span, uid, address, network, whole, spot, mood, made, bits FROM driver.typed ORDER BY id';
  await attempt(client, typed);
  await attempt(client, { text: typed, rowMode: 'array' });
  await attempt(client, { text: 'SELECT id, flag, small, single, words, raw FROM driver.typed WHERE id < $1 ORDER BY id', values: [9], binary: true });
  for (const value of [1, -1, 1.5, true, null, 'ünïcödé ☃', Buffer.from([0, 255]), [1, 2], { k: [1] }, new Date(0)]) {
    await attempt(client, 'SELECT $1 AS value', [value]);
  }
  let total = 0;
  for (let n = 0; n < 200; n += 1) {
    total += (await client.query({ name: 'twice', text: 'SELECT $1::int * 2 AS n', values: [n] })).rows[0].n;
  }
  show('prepared', total);

  for (const text of ["INSERT INTO driver.items VALUES (1, 'bolt', 2.5)", "INSERT INTO driver.items VALUES (1, 'again', 1)",
    "INSERT INTO driver.items VALUES (2, 'free', -1)", "INSERT INTO driver.items VALUES (3, NULL, 1)",
    'SELECT * FROM driver.no_such_table', 'SELECT missing FROM driver.items', 'SELEC 1', "SELECT 'abc'::int",
    'SELECT driver.fails()', 'SELECT 1/0', '', "SELECT 1 AS a; SELECT 'two' AS b", 'SELECT 1; SELECT 1/0; SELECT 3']) {
    await attempt(client, text);
    if (!text.includes(';')) await attempt(client, { text, values: [], queryMode: 'extended' });
  }
  const notices = [];
  client.on('notice', (n) => notices.push([n.severity, n.code, n.message, n.detail, n.hint, n.where]));
  await attempt(client, 'SELECT driver.says($1)', ['bell']);
  await attempt(client, 'CALL driver.doubles($1)', [21]);
  show('notices', notices);

  for (const text of ['BEGIN', "INSERT INTO driver.items VALUES (10, 'kept', 1)", 'SAVEPOINT s', "INSERT INTO driver.items VALUES (10, 'dup', 1)",
    "SELECT 'in a failed transaction'", 'ROLLBACK TO s', "INSERT INTO driver.items VALUES (11, 'after', 1)", 'COMMIT',
    'BEGIN', 'SELECT 1/0', 'COMMIT', 'SELECT id, name, price FROM driver.items ORDER BY id']) {
    await attempt(client, text);
  }

  const rows = Array.from({ length: 5000 }, (_, n) => `${n}\tnote ${n}\t\\\\x${'00'.repeat(n % 9)}\n`);
  const into = client.query(copy.from('COPY driver.copied FROM STDIN'));
  await pipeline(Readable.from(rows), into);
  show('copied', into.rowCount);
  try {
    await pipeline(Readable.from(['not a number\n']), client.query(copy.from('COPY driver.copied FROM STDIN')));
  } catch (e) {
    failure(e);
  }
  for (const form of ['', ' WITH (FORMAT csv)', ' WITH (FORMAT binary)']) {
    const digest = createHash('sha256');
    const out = client.query(copy.to(`COPY (SELECT * FROM driver.copied ORDER BY id) TO STDOUT${form}`));
    for await (const data of out) digest.update(data);
    show('copy out', form, digest.digest('hex'));
  }

  const other = await connect();
  const heard = new Promise((resolve) => {
    const all = [];
    client.on('notification', (n) => {
      all.push([n.channel, n.payload, n.processId === other.processID]);
      if (all.length === 2) resolve(all);
    });
  });
  await client.query('LISTEN driver_news');
  await other.query("NOTIFY driver_news, 'from another'; SELECT pg_notify('driver_news', 'a second')");
  show('news', await heard);

  const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, $1::int) n', [30]));
  for (;;) {
    const some = await cursor.read(7);
    if (some.length === 0) break;
    show('cursor', some.map((r) => r.n));
  }
  await cursor.close();
  const early = client.query(new Cursor('SELECT n FROM generate_series(1, 1000) n'));
  show('early', (await early.read(2)).length);
  await early.close();
  const broken = client.query(new Cursor('SELECT 1 / (5 - n) AS q FROM generate_series(1, 10) n'));
  try {
    show('broken', (await broken.read(3)).length);
    await broken.read(3);
  } catch (e) {
    failure(e);
  }

  // The client sends one query at a time, but several clients share the event loop.
  const many = await Promise.all(Array.from({ length: 8 }, () => connect()));
  show('many', await Promise.all(many.map(async (c, n) => (await c.query('SELECT $1::int AS n', [n])).rows[0].n)));
  await Promise.all(many.map((c) => c.end()));
  if (client.pipelining !== undefined) {
    const piped = await connect();
    piped.pipelining = true;
    show('pipeline', (await Promise.all(Array.from({ length: 50 }, (_, n) => piped.query('SELECT $1::int AS n', [n])))).map((r) => r.rows[0].n));
    show('pipeline', (await Promise.allSettled(['SELECT 1 AS a', 'SELECT 1/0', 'SELECT 3 AS c'].map((t) => piped.query(t)))).map((r) => r.status));
    await piped.end();
  }

  const text = 'ü☃ab'.repeat(262144);
  const raw = Buffer.alloc(1 << 20, 'governor');
  await client.query('INSERT INTO driver.large VALUES (1, $1, $2)', [text, raw]);
  const back = (await client.query('SELECT body, raw FROM driver.large')).rows[0];
  show('large', back.body === text, raw.equals(back.raw));

  const sleeping = client.query('SELECT pg_sleep(600)').catch((e) => e);
  const active = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'";
  while ((await other.query(active, [pid])).rowCount === 0);
  const canceller = new pg.Client(tls());
  canceller.cancel(client, client._activeQuery);
  failure(await sleeping);
  await attempt(client, "SELECT 'goes on' AS said");
  for (const unhappy of [{ user: 'nobody_of_that_name' }, { database: 'no_such_database' }, { options: '-c no_such_setting=1' }]) {
    await connect(unhappy).then((c) => c.end(), failure);
  }
  await other.end();
  await client.end();
}

main().catch((e) => { console.error(e); process.exit(1); });
