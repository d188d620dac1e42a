# An app that has nothing of latchhook's but what anybody may copy: it takes its share of the events to the queue, through one
# door, and says how many. What is not taken for certain it sends again, as any app must.
#
#     ruby app.rb DOOR EVENTS
#
# DOOR is `one` (HTTP, one by one), `batch` (HTTP, NDJSON), `redis` (the script) or `outbox` (the app's own transactions). Of
# all EVENTS each door has a quarter, and each tenth is sent twice: by the app itself, or by the one whose door is the next.

require "json"
require_relative "enqueue"
require_relative "postgres"
require_relative "../../../deploy/clients/latchhook"

DOORS = %w[one batch redis outbox].freeze
SCRIPT = File.read(File.join(__dir__, "../../../deploy/redis/enqueue.v1.lua"))
SOURCE = "wa".freeze
CONVERSATIONS = 7

def numbers(door, events)
  share = events / DOORS.size
  first = DOORS.index(door) * share
  (first...first + share).flat_map do |number|
    next [number] unless (number % 10).zero?

    [number, (number % 20).zero? ? number : (number + share) % events]
  end
end

# A request as WhatsApp sends it, with one message.
def body(number, wamid = format("wamid.app-%07d", number))
  text = { from: "15550101234", id: wamid, timestamp: "1771000000", type: "text", text: { body: "message #{number}: ü" } }
  metadata = { display_phone_number: "15550100042", phone_number_id: "990000000000042" }
  value = { messaging_product: "whatsapp", metadata: metadata, messages: [text] }
  entry = { id: "880000000000007", changes: [{ field: "messages", value: value }] }
  JSON.generate({ object: "whatsapp_business_account", entry: [entry] })
end

# Over HTTP: the client sends again by itself, under one key.
def one(numbers)
  client = Latchhook::Client.new(ENV.fetch("LATCHHOOK_URL"), SOURCE, ENV.fetch("LATCHHOOK_TOKEN"))
  numbers.count { |number| client.enqueue(body(number)) }
end

def batch(numbers)
  client = Latchhook::Client.new(ENV.fetch("LATCHHOOK_URL"), SOURCE, ENV.fetch("LATCHHOOK_TOKEN"))
  numbers.each_slice(100).sum { |some| client.enqueue_batch(some.map { |number| body(number) }).size }
end

def redis(numbers)
  redis = nil
  numbers.each_slice(20).sum do |some|
    redis ||= Redis.new(ENV.fetch("REDIS_URL"), ENV.fetch("LATCHHOOK_PREFIX"))
    redis.enqueue(SCRIPT, SOURCE, some.map { |number| body(number) }).size
  rescue SystemCallError, IOError, Timeout::Error, Redis::Refused => e
    raise if e.message.start_with?("REFUSED")

    redis = nil
    sleep 0.1
    retry
  end
end

# The raw event and what it is about are committed together. Before each twenty-fifth something is rolled back.
def outbox(numbers)
  postgres = Postgres.new(ENV.fetch("APP_DATABASE_URL"))
  numbers.each_with_index.count do |number, place|
    postgres.run("BEGIN; #{told(number, body(number, "wamid.never"))}; ROLLBACK") if (place % 25).zero?
    postgres.run("BEGIN; #{told(number, body(number))}; COMMIT")
    true
  end
end

def told(number, body)
  conversation = number % CONVERSATIONS
  <<~SQL.chomp
    UPDATE conversations SET messages = messages + 1 WHERE id = #{conversation};
    INSERT INTO latchhook_outbox (source_id, key, body)
    VALUES ('#{SOURCE}', 'conversation-#{conversation}', '\\x#{body.unpack1("H*")}')
  SQL
end

door, events = ARGV[0], Integer(ARGV[1])
abort "the doors are #{DOORS.join(", ")}" unless DOORS.include?(door)
abort "events must be a multiple of 80, so that each door has as many, and as many of them twice" unless (events % 80).zero?

numbers = numbers(door, events)
puts JSON.generate({ sent: numbers.size, repeated: numbers.size - (events / DOORS.size), accepted: send(door, numbers) })
