# As much of PostgreSQL's protocol (https://www.postgresql.org/docs/current/protocol-flow.html) as an app's transactions take,
# for an app that has nothing but the standard library. No passwords, no TLS: apps of your own take the gem `pg`.

require "socket"
require "uri"

class Postgres
  PROTOCOL = 3 << 16

  def initialize(url)
    url = URI(url)
    host = URI.decode_www_form_component(url.host)
    port = url.port || 5432
    @socket = host.start_with?("/") ? UNIXSocket.new("#{host}/.s.PGSQL.#{port}") : TCPSocket.new(host, port)
    tell("", [PROTOCOL].pack("N") + "user\0#{url.user}\0database\0#{url.path.delete_prefix("/")}\0\0")
    listen
  end

  # Statements with semicolons between them, which outside of BEGIN and COMMIT are one transaction.
  def run(statements)
    tell("Q", "#{statements}\0")
    listen
  end

  private

  def tell(kind, text)
    @socket.write(kind, [text.bytesize + 4].pack("N"), text)
  end

  # Up to where it waits for us again.
  def listen
    error = nil
    loop do
      kind, length = @socket.read(5)&.unpack("aN")
      raise IOError, "Postgres has hung up" unless length

      text = @socket.read(length - 4)
      raise IOError, "Postgres asks for a password" if kind == "R" && text.unpack1("N") != 0

      error = text.tr("\0", " ") if kind == "E"
      break if kind == "Z"
    end
    raise IOError, error if error
  end
end
