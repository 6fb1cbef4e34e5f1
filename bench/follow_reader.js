// @ts-check
'use strict';
// node follow_reader.js URL/DB DOCUMENTS: reads a feed with npm's `follow`, found by NODE_PATH.
// Prints {"s", "documents", "peak_mb"} as bench/feed_reader.py does.
const fs = require('fs');
const follow = require('follow');

// As feed_reader.py: Linux counts a parent's memory into maxRSS.
function peakMb() {
  const status = '/proc/self/status';
  if (!fs.existsSync(status)) return process.resourceUsage().maxRSS / 1024;
  const found = /VmHWM:\s+(\d+)/.exec(fs.readFileSync(status, 'utf8'));
  return Number(/** @type {RegExpExecArray} */ (found)[1]) / 1024;
}

const [db, expected] = [process.argv[2], Number(process.argv[3])];
const began = process.hrtime.bigint();
let documents = 0;
follow({ db, include_docs: true, since: 0 }, (error) => {
  if (error) throw error;
  documents += 1;
  if (documents < expected) return;
  const s = Number(process.hrtime.bigint() - began) / 1e9;
  console.log(JSON.stringify({ s, documents, peak_mb: peakMb() }));
  process.exit(0);
});
