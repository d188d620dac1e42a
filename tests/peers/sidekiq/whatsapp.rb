# frozen_string_literal: true

# What the job needs to know of WhatsApp's webhooks: how they are signed, and where their messages are.

require "json"
require "openssl"

module WhatsApp
  SECRET = ENV.fetch("APP_SECRET")

  def self.signed?(body, header)
    expected = "sha256=#{OpenSSL::HMAC.hexdigest("SHA256", SECRET, body)}"
    OpenSSL.secure_compare(expected, header.to_s)
  end

  def self.messages_in(body)
    changes = JSON.parse(body).fetch("entry", []).flat_map { |entry| entry.fetch("changes", []) }
    changes.flat_map do |change|
      value = change.fetch("value", {})
      name = value.dig("contacts", 0, "profile", "name")
      value.fetch("messages", []).map { |message| [message, name] }
    end
  end
end
