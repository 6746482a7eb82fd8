// The parts of the pages' scripts that need no page; `test_scripts.py` runs this with Node.
import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, duration, moment, moved, percent, score, tick, whole } from "../../gateway/web/src/format.js";
import { eventReader } from "../../gateway/web/src/live.js";

const STREAM =
  ": a heartbeat\r\n\r\nretry: 500\r\n\r\nid: 1\r\nevent: score\r\ndata: {\"a\":1}\r\n\r\n" +
  "event: change\nid: 2\ndata: one\ndata: two\n\nevent: reset\rid: 3\rdata:\r\rdata: without a name\n\n";

test("events are the same however the stream is cut into pieces", () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const seen = [];
    const read = eventReader((event) => seen.push(event));
    for (let at = 0; at < STREAM.length; at += size) read(STREAM.slice(at, at + size));
    assert.deepEqual(seen, [
      { name: "score", data: '{"a":1}', id: "1" },
      { name: "change", data: "one\ntwo", id: "2" },
      { name: "reset", data: "", id: "3" },
      { name: "message", data: "without a name", id: null },
    ]);
  }
});

test("an event that has not ended is not told", () => {
  const seen = [];
  eventReader((event) => seen.push(event))("event: change\ndata: {}\n");
  assert.deepEqual(seen, []);
});

test("numbers and times are written the same for everybody", () => {
  assert.deepEqual([score(26.4), score(100), score(null)], ["26.4", "100.0", "–"]);
  assert.deepEqual([moved(0.3), moved(-1.25), moved(0.04)], ["+0.3", "−1.2", "0.0"]);
  assert.deepEqual([counted(1, "event"), counted(1200, "person", "people")], ["1 event", "1,200 people"]);
  assert.deepEqual([whole(0), whole(999), whole(1234567)], ["0", "999", "1,234,567"]);
  const at = Date.parse("2012-07-07T23:59:53Z");
  assert.equal(moment(at), "7 Jul 2012, 23:59 UTC");
  assert.equal(moment(at, { seconds: true }), "7 Jul 2012, 23:59:53 UTC");
  assert.deepEqual([tick(at, 1_000), tick(at, 3_600_000), tick(at, 86_400_000)], ["23:59:53", "23:59", "7 Jul"]);
  assert.equal(tick(Date.parse("2012-07-08T00:00:00Z"), 3_600_000), "8 Jul");
  assert.deepEqual([percent(0), percent(0.004), percent(0.114)], ["0 %", "< 1 %", "11 %"]);
  assert.deepEqual([duration(0), duration(59), duration(18_180), duration(86_400)], ["0 s", "59 s", "5 h 3 min", "1 d"]);
});
