// node-postgres: every value of the named tables, decoded from text and from binary.
'use strict';
const pg = require('pg');

async function main() {
  for (const table of process.argv.slice(2)) {
    const client = new pg.Client();
    await client.connect();
    // The driver decodes binary for some types only and hands on the bytes of the others.
    for (const form of ['text', 'binary']) {
      const result = await client.query({ text: `SELECT * FROM ${table} ORDER BY id`, binary: form === 'binary', values: [] });
      for (const row of result.rows) {
        for (const [name, value] of Object.entries(row).slice(1)) {
          const shown = Buffer.isBuffer(value) ? value.toString('hex') : value;
          console.log([table, form, row.id, name, JSON.stringify(shown)].join('\t'));
        }
      }
    }
    await client.end();
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
