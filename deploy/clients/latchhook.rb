# Enqueues raw events at a latchhook, over HTTP. Ruby 3.0 or newer, and nothing else.
#
#     client = Latchhook::Client.new("http://127.0.0.1:8080", "wa", ENV.fetch("LATCHHOOK_TOKEN"))
#     client.enqueue('{"object": "whatsapp_business_account"}')   # => "5f0c…-17"
#     client.enqueue_batch([body, body])                           # => ["5f0c…-18", "5f0c…-19"]
#
# Each call is sent under one Idempotency-Key, however often it has to be: what it brings is enqueued once.
# On the command line it enqueues each line of stdin as one body:
#
#     LATCHHOOK_TOKEN=… ruby latchhook.rb http://127.0.0.1:8080 wa < bodies
#
# All lines are one batch: at most 10,000 of them and 8 MiB.

require "json"
require "net/http"
require "openssl"
require "securerandom"
require "time"
require "timeout"
require "uri"

module Latchhook
  # What may be otherwise a moment later. Whatever else is refused stays refused.
  PASSING = [408, 409, 429, 500, 502, 503, 504].freeze
  # No answer, or none that could be read to its end.
  NO_ANSWER = [SystemCallError, IOError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError, Net::ProtocolError,
               Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError].freeze

  # Nothing is known to be enqueued. `key` is what the request was sent under: sent again under it, it is never doubled.
  class NotEnqueued < StandardError
    attr_reader :key

    def initialize(message, key)
      super(message)
      @key = key
    end
  end

  # Some lines of a batch were refused; all others are enqueued. `results` has an id for each body that was enqueued and nil
  # for each that was not; `errors` the refusals, each with "line" (from 1), "status" and "message".
  class LinesRefused < StandardError
    attr_reader :results, :errors

    def initialize(results)
      @results = results.map { |result| result["id"] }
      @errors = results.filter_map { |result| result["error"] }
      super(@errors.map { |error| "line #{error["line"]}: #{error["message"]}" }.join("; "))
    end
  end

  class Client
    # `timeout`: seconds for one try. `patience`: seconds after which there is no further try; 0: after the first.
    def initialize(url, source, token, timeout: 10, patience: 60)
      @uri = URI("#{url.chomp("/")}/v1/sources/#{URI.encode_www_form_component(source)}/raw-events")
      @token = token
      @timeout = timeout
      @patience = patience
    end

    # Enqueues one raw event: `body` is a string of whatever bytes, taken as it is. Returns its id.
    def enqueue(body, headers: {}, key: nil)
      send_all(body, headers.merge("content-type" => "application/octet-stream"), key, 1).first.fetch("id")
    end

    # Enqueues many: each is a string of whatever bytes, taken as it is. Returns their ids, in order. At most 10,000 of them
    # and 8 MiB at a time.
    def enqueue_batch(bodies, key: nil)
      return [] if bodies.empty?

      lines = bodies.map { |body| JSON.generate(line(body)) }.join("\n")
      results = send_all(lines, { "content-type" => "application/x-ndjson" }, key, bodies.size)
      raise LinesRefused, results if results.any? { |result| result["error"] }

      results.map { |result| result.fetch("id") }
    end

    private

    # One request, until it is answered: under one key, so that it is enqueued once.
    def send_all(body, headers, key, count)
      key ||= SecureRandom.uuid
      # Bytes as they are: nothing unpacks them, and fails over it.
      headers = headers.merge("authorization" => "Bearer #{@token}", "idempotency-key" => "\"#{key}\"",
                              "accept-encoding" => "identity")
      ends = now + @patience
      (1..).each do |tries|
        status, answer, wait = try(body, headers)
        results = results_of(answer, count)
        return results if status == 202 && results

        refuse(status, answer, results, key) if status && status != 202 && !PASSING.include?(status)
        pause = [wait, rand * [10, 0.1 * 2**tries].min].max
        if now + pause >= ends
          raise NotEnqueued.new("given up after #{tries} tries: #{status || "no answer"}: #{reason(answer)}", key)
        end

        sleep(pause)
      end
    end

    # Status, JSON or text, seconds to wait; no status where there was no answer. Net::HTTP would follow no redirect, and
    # would send some requests twice by itself.
    def try(body, headers)
      http = Net::HTTP.new(@uri.host, @uri.port, nil)
      http.use_ssl = @uri.scheme == "https"
      http.max_retries = 0
      # Its own timeouts are for each piece: an answer that drips would never end.
      response = Timeout.timeout(@timeout) { http.start { http.post(@uri.request_uri, body, headers) } }
      [response.code.to_i, parsed(response.body), wait(response["retry-after"])]
    rescue *NO_ANSWER => e
      [nil, e.message, 0]
    end

    # The results of an answer that is a latchhook's to so many bodies; whatever else stands between may answer too.
    def results_of(answer, count)
      results = answer["results"] if answer.is_a?(Hash)
      results if results.is_a?(Array) && results.size == count && results.all? { |result| result?(result) }
    end

    def result?(result)
      return false unless result.is_a?(Hash)

      error = result["error"]
      result["id"].is_a?(String) || (error.is_a?(Hash) && error.key?("line") && error.key?("message"))
    end

    # The seconds that `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3).
    def wait(retry_after)
      return retry_after.to_i if retry_after.nil? || retry_after.match?(/\A\d+\z/)

      [0, Time.httpdate(retry_after) - Time.now].max
    rescue ArgumentError
      0
    end

    def refuse(status, answer, results, key)
      raise LinesRefused, results if results

      raise NotEnqueued.new("#{status}: #{reason(answer)}", key)
    end

    def reason(answer)
      answer.is_a?(Hash) ? answer.fetch("error", answer) : answer
    end

    def parsed(text)
      JSON.parse(text)
    rescue JSON::ParserError, TypeError
      text
    end

    def line(body)
      text = body.dup.force_encoding(Encoding::UTF_8)
      text.valid_encoding? ? { body: text } : { body_base64: [body].pack("m0") }
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

if $PROGRAM_NAME == __FILE__
  url, source = ARGV
  client = Latchhook::Client.new(url, source, ENV.fetch("LATCHHOOK_TOKEN"))
  begin
    # `chomp: true` would take a \r with it.
    client.enqueue_batch($stdin.binmode.each_line.map { |line| line.delete_suffix("\n") }).each { |id| puts id }
  rescue Latchhook::NotEnqueued, Latchhook::LinesRefused => e
    puts(e.results.map { |id| id || "-" }) if e.respond_to?(:results)
    abort "latchhook: #{e.message}"
  end
end
