# Enqueues the lines of standard input as raw events of one source, all or none, and prints their names.
#
#     REDIS_URL=redis://127.0.0.1:6379 ruby enqueue.rb orders enqueue.v1.lua < bodies
#
# Ruby's standard library and nothing else.

require "socket"
require "timeout"
require "uri"

class Redis
  KEYS = %w[:inbound:active :inbound:data :inbound:incarnation :inbound:incarnations :sources].freeze

  class Refused < StandardError; end

  def initialize(url, prefix)
    url = URI(url)
    @keys = KEYS.map { |key| prefix + key }
    @socket = if url.scheme == "redis+unix"
                UNIXSocket.new(URI.decode_www_form_component(url.path))
              else
                Socket.tcp(url.host, url.port || 6379, connect_timeout: 10)
              end
  end

  # Returns their names, once Redis has all of them.
  def enqueue(script, source, bodies)
    now = (Time.now.to_f * 1000).to_i
    raw_events = bodies.flat_map { |body| [source, now, '[["content-type","application/json"]]', body] }
    call("EVAL", script, @keys.size, *@keys, 1, *raw_events)
  end

  private

  def call(*words)
    words = words.map { |word| word.to_s.b }
    Timeout.timeout(10) do
      @socket.write("*#{words.size}\r\n".b, *words.map { |word| "$#{word.bytesize}\r\n".b + word + "\r\n".b })
      answer
    end
  end

  def answer
    line = @socket.gets("\r\n", chomp: true)
    raise IOError, "no answer: the raw events may be enqueued or not; enqueue them again" unless line

    kind, rest = line[0], line[1..]
    case kind
    when "-" then raise Refused, rest
    when "*" then Array.new(rest.to_i) { answer }
    when "$" then @socket.read(rest.to_i + 2).chomp("\r\n")
    else rest
    end
  end
end

if $PROGRAM_NAME == __FILE__
  source, script = ARGV
  begin
    redis = Redis.new(ENV.fetch("REDIS_URL"), ENV.fetch("LATCHHOOK_PREFIX", "latchhook"))
    puts redis.enqueue(File.read(script), source, $stdin.binmode.each_line(chomp: true).to_a)
  rescue SystemCallError, IOError, Timeout::Error, Redis::Refused => e
    abort "not enqueued: #{e.message}"
  end
end
