# frozen_string_literal: true

# What a Sidekiq process loads.

require_relative "jobs"
require_relative "customer"
require_relative "tables"
