"use strict";
// Tells the customer, signed as Standard Webhooks say; over connections that are kept.

const { createHash, createHmac } = require("node:crypto");
const { Pool } = require("undici");

const CUSTOMER = new URL(process.env.CUSTOMER_URL);
const SECRET = Buffer.from(process.env.CUSTOMER_SECRET.replace(/^whsec_/, ""), "base64");
const DEADLINE = 15_000;

const pool = new Pool(CUSTOMER.origin, { connections: 50, headersTimeout: DEADLINE, bodyTimeout: DEADLINE });

// The same for the same message, however often it is sent.
function webhookId(wamid) {
  return "msg_" + createHash("sha256").update(wamid).digest("hex").slice(0, 32);
}

function bodyOf({ message, name }) {
  const sentAt = new Date(Number(message.timestamp) * 1000).toISOString();
  const data = {
    source_id: "bench",
    key: message.id,
    message: {
      external_id: message.id,
      direction: "incoming",
      kind: message.type,
      sender: { phone: message.from, name },
      content: message.text?.body ?? null,
      provider_timestamp: sentAt,
    },
    raw: message,
  };
  return JSON.stringify({ type: "message_created", timestamp: sentAt, data });
}

function signed(id, body) {
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = createHmac("sha256", SECRET).update(`${id}.${timestamp}.${body}`).digest("base64");
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": `v1,${signature}`,
  };
}

// What came of one attempt; it does not throw.
async function tell(id, body) {
  const started = performance.now();
  const outcome = { status: null, error: null };
  try {
    const response = await pool.request({
      method: "POST",
      path: CUSTOMER.pathname + CUSTOMER.search,
      headers: signed(id, body),
      body,
    });
    outcome.status = response.statusCode;
    await response.body.dump();
  } catch (error) {
    outcome.error = String(error);
  }
  outcome.milliseconds = Math.round(performance.now() - started);
  return outcome;
}

function isDelivered({ status }) {
  return status >= 200 && status < 300;
}

module.exports = { bodyOf, isDelivered, tell, webhookId };
