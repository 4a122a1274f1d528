// Recorded with node-postgres: unnamed and named statements, cursors, COPY streams.
'use strict';
const pg = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');

(async () => {
  const c = new pg.Client({ ssl: false });
  await c.connect();
  console.log((await c.query('SELECT id, email FROM people WHERE id < $1 ORDER BY id', [9])).rows);
  console.log((await c.query('SELECT 1; SELECT 2')).length);
  for (const n of [1, 2]) console.log((await c.query({ name: 'again', text: 'SELECT $1::int * 2 AS n', values: [n] })).rows);
  for (const text of ['SELEC 1', 'SELECT 1/0', 'SELECT * FROM no_such_table']) {
    await c.query(text).catch((e) => console.log(e.code));
    await c.query(text, []).catch((e) => console.log(e.code));
  }
  const cursor = c.query(new Cursor('SELECT n FROM generate_series(1, 5) AS n'));
  console.log((await cursor.read(2)).length, (await cursor.read(9)).length);
  await cursor.close();
  await pipeline(Readable.from(['1\tone\n', '2\ttwo\n']), c.query(copy.from('COPY notes FROM STDIN')));
  let rows = '';
  for await (const part of c.query(copy.to('COPY (SELECT n FROM generate_series(1, 3) AS n) TO STDOUT'))) rows += part;
  console.log(rows);
  await c.end();
})();
