// Enqueues the lines of standard input as raw events of one source, all or none, and prints their names.
//
//     REDIS_URL=redis://127.0.0.1:6379 node enqueue.mjs orders enqueue.v1.lua < bodies
//
// Node's own modules and nothing else.
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

function open(url) {
  const { protocol, pathname, hostname, port } = new URL(url);
  if (protocol === 'redis+unix:') return connect(decodeURIComponent(pathname));
  return connect(Number(port || 6379), hostname);
}

// What stands at the place, and the place behind it; nothing if not all of it has come yet.
function parse(bytes, at) {
  const end = bytes.indexOf('\r\n', at);
  if (end < 0) return undefined;
  const [kind, rest] = [String.fromCharCode(bytes[at]), bytes.toString('utf8', at + 1, end)];
  if (kind === '-') return { value: new Error(rest), next: end + 2 };
  if (kind === '$') {
    const next = end + 2 + Number(rest) + 2;
    return next > bytes.length ? undefined : { value: bytes.toString('utf8', end + 2, next - 2), next };
  }
  if (kind !== '*') return { value: rest, next: end + 2 };
  const value = [];
  let next = end + 2;
  while (value.length < Number(rest)) {
    const item = parse(bytes, next);
    if (!item) return undefined;
    value.push(item.value);
    next = item.next;
  }
  return { value, next };
}

function call(redis, ...words) {
  const parts = words.map((word) => (Buffer.isBuffer(word) ? word : Buffer.from(String(word))));
  const framed = parts.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n')]);
  redis.write(Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...framed]));
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    redis.setTimeout(10_000, () => redis.destroy(new Error('Redis is silent')));
    redis.on('error', reject);
    redis.on('close', () => reject(new Error('no answer: the raw events may be enqueued or not; enqueue them again')));
    redis.on('data', (more) => {
      bytes = Buffer.concat([bytes, more]);
      const answer = parse(bytes, 0);
      if (answer) (answer.value instanceof Error ? reject : resolve)(answer.value);
    });
  });
}

function enqueue(redis, script, prefix, source, bodies) {
  const names = [':inbound:active', ':inbound:data', ':inbound:incarnation', ':inbound:incarnations', ':sources'];
  const keys = names.map((name) => prefix + name);
  const rawEvents = bodies.flatMap((body) => [source, Date.now(), '[["content-type","application/json"]]', body]);
  return call(redis, 'EVAL', script, keys.length, ...keys, 1, ...rawEvents);
}

const [source, script] = [process.argv[2], readFileSync(process.argv[3])];
const bodies = readFileSync(0, 'utf8').split('\n').filter((line) => line !== '');
const redis = open(process.env.REDIS_URL);
try {
  const names = await enqueue(redis, script, process.env.LATCHHOOK_PREFIX ?? 'latchhook', source, bodies);
  console.log(names.join('\n'));
} catch (error) {
  console.error(`not enqueued: ${error.message}`);
  process.exitCode = 1;
}
redis.destroy();
