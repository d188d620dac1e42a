// Receives webhooks: verifies each, records it once, answers. Node 18 or newer, and nothing else.
//
//     WEBHOOK_SECRET=whsec_… node receiver.mjs

import { createHmac, timingSafeEqual } from 'node:crypto'
import { appendFileSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const SECRET = Buffer.from((process.env.WEBHOOK_SECRET ?? '').replace(/^whsec_/, ''), 'base64')
const TOLERANCE = 5 * 60 // seconds
const LARGEST = 72 << 20 // bytes

// A line for each webhook: its id, and what it changes. One write makes both true, so this file does for one process what a
// transaction does in a database; with several processes, use one.
const inbox = openSync(process.env.INBOX ?? 'webhooks.ndjson', 'a+')
const seen = new Set(recorded())

function* recorded() {
  const bytes = readFileSync(inbox)
  const whole = bytes.lastIndexOf('\n') + 1
  // What a crash broke off was answered to nobody.
  ftruncateSync(inbox, whole)
  for (const line of bytes.subarray(0, whole).toString().split('\n')) {
    if (line) yield JSON.parse(line).id
  }
}

// Gives the webhook-id of a request that we believe, else null.
function verify(headers, body) {
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map((name) => headers[`webhook-${name}`] ?? '')
  const age = Math.abs(Date.now() / 1000 - Number(timestamp || NaN))
  if (!id || !(age <= TOLERANCE)) return null
  // The bytes as they came: JSON that was parsed and written again has others.
  const hmac = createHmac('sha256', SECRET).update(`${id}.${timestamp}.`).update(body)
  const expected = Buffer.from(`v1,${hmac.digest('base64')}`)
  // There are several while a secret is rotated; one that fits is enough.
  const fits = (given) => given.length === expected.length && timingSafeEqual(given, expected)
  return signatures.split(' ').some((given) => fits(Buffer.from(given))) ? id : null
}

// Says whether it is new.
function record(id, body) {
  if (seen.has(id)) return false
  const { type, data } = JSON.parse(body)
  const { size } = fstatSync(inbox)
  try {
    appendFileSync(inbox, `${JSON.stringify({ id, type, data })}\n`)
    fdatasyncSync(inbox)
  } catch (error) {
    ftruncateSync(inbox, size)
    throw error
  }
  seen.add(id)
  // What takes long is done later, from what is recorded here.
  return true
}

async function receive(request) {
  if (request.method !== 'POST') return 405
  const parts = []
  let length = 0
  for await (const part of request) {
    length += part.length
    if (length > LARGEST) return 413
    parts.push(part)
  }
  const body = Buffer.concat(parts)
  const id = verify(request.headers, body)
  if (id === null) return 401
  console.log(record(id, body) ? `recorded ${id}` : `had ${id} already`)
  return 204
}

const server = createServer(async (request, response) => {
  try {
    response.writeHead(await receive(request))
  } catch (error) {
    console.error('not recorded:', error)
    response.writeHead(503, { 'retry-after': '5' })
  }
  response.end()
})

if (SECRET.length < 24) throw new Error('WEBHOOK_SECRET is not what `endpoint add` printed')
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
