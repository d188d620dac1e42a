"use strict";
// The door: answers 200 only after `enqueue` has kept every message of a signed body.

const { createServer } = require("node:http");
const { isSigned, messagesIn } = require("./whatsapp");

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

async function accept(request, enqueue) {
  if (request.method !== "POST" || request.url !== "/hooks/bench") return 404;
  const body = await read(request);
  if (!isSigned(body, request.headers["x-hub-signature-256"])) return 401;
  let payload;
  try {
    payload = JSON.parse(body);
  } catch {
    return 400;
  }
  await enqueue(messagesIn(payload));
  return 200;
}

function serve(enqueue) {
  const server = createServer((request, response) => {
    accept(request, enqueue).then(
      (status) => response.writeHead(status, { "content-length": 0 }).end(),
      (error) => {
        console.error(error);
        response.writeHead(503, { "retry-after": 1, "content-length": 0 }).end();
      },
    );
  });
  // Senders keep their connections for longer than Node's five seconds.
  server.keepAliveTimeout = 65_000;
  const [host, port] = process.env.LISTEN.split(":");
  server.listen({ host, port: Number(port), backlog: 1024 });
  return server;
}

module.exports = { serve };
