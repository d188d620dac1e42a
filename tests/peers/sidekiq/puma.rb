# frozen_string_literal: true

# Puma's settings: a process for each of two cores; its threads only wait for Redis, so there are more than the usual five.

bind "tcp://#{ENV.fetch("LISTEN")}"
environment "production"
workers 2
threads 16, 16
preload_app!
quiet

# By default a thread serves up to ten requests of one connection before it looks at others. With more connections than
# threads, some then wait for seconds (puma issues 3443 and 3487): here each goes back in line.
max_fast_inline 0
