# frozen_string_literal: true

# The two tables, see ../schema.sql; a connection for each of Sidekiq's threads, with its statements prepared.

require "connection_pool"
require "json"
require "pg"

module Tables
  STATEMENTS = {
    "message" => <<~SQL,
      insert into messages (wamid, sender, name, kind, content, sent_at, raw)
      values ($1, $2, $3, $4, $5, to_timestamp($6), $7)
    SQL
    "is_there" => "select from messages where wamid = $1",
    "attempt" => "insert into attempts (wamid, webhook_id, status, error, milliseconds) values ($1, $2, $3, $4, $5)"
  }.freeze

  POOL = ConnectionPool.new(size: 10, timeout: 15) do
    connection = PG.connect(ENV.fetch("DATABASE_URL"))
    STATEMENTS.each { |name, sql| connection.prepare(name, sql) }
    connection
  end

  def self.message?(wamid)
    execute("is_there", [wamid]).ntuples.positive?
  end

  def self.insert_message(message, name)
    content = message.dig("text", "body")
    values = message.values_at("id", "from") + [name, message["type"], content, message["timestamp"]]
    execute("message", [*values, JSON.generate(message)])
  end

  def self.record_attempt(*values)
    execute("attempt", values)
  end

  def self.execute(statement, values)
    POOL.with { |connection| connection.exec_prepared(statement, values) }
  end
end
