# frozen_string_literal: true

# The two jobs. The first is the seed's algorithm with its claim; see README.md for what becomes of it in a crash.

require_relative "redis"
require_relative "whatsapp"

# One atomic SET NX EX, never released.
module Claim
  DAY = 86_400

  def self.acquire?(wamid)
    Sidekiq.redis { |redis| redis.set("MESSAGE_SOURCE_KEY::#{wamid}", "true", nx: true, ex: DAY) }
  end
end

class StoreMessages
  include Sidekiq::Job
  sidekiq_options queue: "low", retry: 3

  def perform(body)
    WhatsApp.messages_in(body).each { |message, name| store(message, name) }
  end

  private

  def store(message, name)
    wamid = message.fetch("id")
    return if Tables.message?(wamid)
    return unless Claim.acquire?(wamid)

    Tables.insert_message(message, name)
    TellCustomer.perform_async(Customer.webhook_id(wamid), wamid, Customer.body_of(message, name))
  end
end

class NotDelivered < StandardError; end

class TellCustomer
  include Sidekiq::Job
  sidekiq_options queue: "medium"

  def perform(id, wamid, body)
    status, error, milliseconds = Customer.tell(id, body)
    Tables.record_attempt(wamid, id, status, error, milliseconds)
    raise NotDelivered, (error || status).to_s unless (200..299).cover?(status)
  end
end
