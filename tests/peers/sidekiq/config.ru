# frozen_string_literal: true

# The door: answers 200 only after Redis has the signed body. As in the seed, nothing of it is read before that.

require_relative "redis"
require_relative "whatsapp"
require_relative "jobs"

run(lambda do |env|
  return [404, {}, []] unless env["REQUEST_METHOD"] == "POST" && env["PATH_INFO"] == "/hooks/bench"

  body = env["rack.input"].read
  return [401, {}, []] unless WhatsApp.signed?(body, env["HTTP_X_HUB_SIGNATURE_256"])

  StoreMessages.perform_async(body.force_encoding(Encoding::UTF_8))
  [200, {}, []]
rescue Redis::BaseError
  [503, { "Retry-After" => "1" }, []]
end)
