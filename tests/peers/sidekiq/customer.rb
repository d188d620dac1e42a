# frozen_string_literal: true

# Tells the customer, signed as Standard Webhooks say; over connections that are kept.

require "connection_pool"
require "digest"
require "json"
require "net/http"
require "openssl"
require "time"

module Customer
  URL = URI(ENV.fetch("CUSTOMER_URL"))
  SECRET = ENV.fetch("CUSTOMER_SECRET").delete_prefix("whsec_").unpack1("m")
  DEADLINE = 15

  POOL = ConnectionPool.new(size: 10, timeout: DEADLINE) do
    http = Net::HTTP.new(URL.host, URL.port)
    http.open_timeout = http.read_timeout = DEADLINE
    http.keep_alive_timeout = 30
    http.start
  end

  # The same for the same message, however often it is sent.
  def self.webhook_id(wamid)
    "msg_#{Digest::SHA256.hexdigest(wamid)[0, 32]}"
  end

  def self.body_of(message, name)
    sent_at = Time.at(message.fetch("timestamp").to_i).utc.iso8601
    data = {
      source_id: "bench",
      key: message["id"],
      message: {
        external_id: message["id"], direction: "incoming", kind: message["type"],
        sender: { phone: message["from"], name: name }, content: message.dig("text", "body"),
        provider_timestamp: sent_at
      },
      raw: message
    }
    JSON.generate(type: "message_created", timestamp: sent_at, data: data)
  end

  # What came of one attempt: status, error, milliseconds.
  def self.tell(id, body)
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    status = error = nil
    begin
      status = POOL.with { |http| http.request(post(id, body)).code.to_i }
    rescue SystemCallError, IOError, Timeout::Error => e
      error = e.message
    end
    [status, error, ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - started) * 1000).round]
  end

  def self.post(id, body)
    timestamp = Time.now.to_i
    signature = OpenSSL::HMAC.digest("SHA256", SECRET, "#{id}.#{timestamp}.#{body}")
    request = Net::HTTP::Post.new(URL, "Content-Type" => "application/json")
    request["webhook-id"] = id
    request["webhook-timestamp"] = timestamp.to_s
    request["webhook-signature"] = "v1,#{[signature].pack("m0")}"
    request.body = body
    request
  end
end
