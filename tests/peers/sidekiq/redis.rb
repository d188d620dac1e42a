# frozen_string_literal: true

# How Sidekiq reaches Redis, in the door and in its own processes; with hiredis, as its wiki advises for speed.

require "redis/connection/hiredis"
require "sidekiq"

# Sidekiq 6.4 calls what redis-rb 4.8 calls deprecated, and each call would print so.
Redis.silence_deprecations = true

settings = { url: ENV.fetch("REDIS_URL").sub("redis+unix://", "unix://"), driver: :hiredis }

Sidekiq.configure_client { |config| config.redis = settings }
Sidekiq.configure_server do |config|
  config.redis = settings
  config.logger.level = Logger::WARN
end
