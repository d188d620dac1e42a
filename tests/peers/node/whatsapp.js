"use strict";
// What the job needs to know of WhatsApp's webhooks: how they are signed, and where their messages are.

const { createHmac, timingSafeEqual } = require("node:crypto");

const SECRET = process.env.APP_SECRET;

function isSigned(body, header) {
  const expected = Buffer.from("sha256=" + createHmac("sha256", SECRET).update(body).digest("hex"));
  const given = Buffer.from(header ?? "");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function messagesIn(payload) {
  const messages = [];
  for (const entry of payload.entry ?? []) {
    for (const { value } of entry.changes ?? []) {
      for (const message of value?.messages ?? []) {
        messages.push({ message, name: value.contacts?.[0]?.profile?.name ?? null });
      }
    }
  }
  return messages;
}

module.exports = { isSigned, messagesIn };
