<?php
// Enqueues raw events at a latchhook, over HTTP. PHP 8.1 or newer, and nothing else (https:// needs its openssl extension).
//
//     $client = new Latchhook\Client("http://127.0.0.1:8080", "wa", getenv("LATCHHOOK_TOKEN"));
//     $client->enqueue('{"object": "whatsapp_business_account"}');   // -> "5f0c…-17"
//     $client->enqueueBatch([$body, $body]);                          // -> ["5f0c…-18", "5f0c…-19"]
//
// Each call is sent under one Idempotency-Key, however often it has to be: what it brings is enqueued once.
// On the command line it enqueues each line of stdin as one body:
//
//     LATCHHOOK_TOKEN=… php latchhook.php http://127.0.0.1:8080 wa < bodies
//
// All lines are one batch: at most 10,000 of them and 8 MiB.

declare(strict_types=1);

namespace Latchhook;

/** Nothing is known to be enqueued. `$key` is what the request was sent under: sent again under it, it is never doubled. */
final class NotEnqueued extends \RuntimeException
{
    public function __construct(string $message, public readonly string $key)
    {
        parent::__construct($message);
    }
}

/**
 * Some lines of a batch were refused; all others are enqueued. `$results` has an id for each body that was enqueued and null
 * for each that was not; `$errors` the refusals, each with `line` (from 1), `status` and `message`.
 */
final class LinesRefused extends \RuntimeException
{
    public readonly array $results;
    public readonly array $errors;

    public function __construct(array $results)
    {
        $this->results = array_map(fn ($result) => $result["id"] ?? null, $results);
        $this->errors = array_values(array_filter(array_column($results, "error")));
        parent::__construct(implode("; ", array_map(fn ($e) => "line {$e["line"]}: {$e["message"]}", $this->errors)));
    }
}

final class Client
{
    /** What may be otherwise a moment later. Whatever else is refused stays refused. */
    private const PASSING = [408, 409, 429, 500, 502, 503, 504];
    private readonly string $url;

    /**
     * `$timeout`: seconds of one try for each step up to the end of the answer's headers, and for all that follows them.
     * `$patience`: seconds after which there is no further try; 0: after the first.
     */
    public function __construct(
        string $url,
        string $source,
        #[\SensitiveParameter] private readonly string $token,
        private readonly float $timeout = 10,
        private readonly float $patience = 60,
    ) {
        $this->url = rtrim($url, "/") . "/v1/sources/" . rawurlencode($source) . "/raw-events";
    }

    /** Enqueues one raw event: `$body` is a string of whatever bytes, taken as it is. Returns its id. */
    public function enqueue(string $body, array $headers = [], ?string $key = null): string
    {
        return $this->send($body, ["content-type" => "application/octet-stream"] + $headers, $key, 1)[0]["id"];
    }

    /**
     * Enqueues many: each is a string of whatever bytes, taken as it is. Returns their ids, in order. At most 10,000 of them
     * and 8 MiB at a time.
     */
    public function enqueueBatch(array $bodies, ?string $key = null): array
    {
        if ($bodies === []) {
            return [];
        }
        $lines = implode("\n", array_map(fn ($body) => json_encode(self::line($body), JSON_THROW_ON_ERROR), $bodies));
        $results = $this->send($lines, ["content-type" => "application/x-ndjson"], $key, count($bodies));
        if (array_column($results, "error") !== []) {
            throw new LinesRefused($results);
        }
        return array_column($results, "id");
    }

    /** One request, until it is answered: under one key, so that it is enqueued once. */
    private function send(string $body, array $headers, ?string $key, int $count): array
    {
        $key ??= bin2hex(random_bytes(16));
        $headers += ["authorization" => "Bearer {$this->token}", "idempotency-key" => "\"$key\""];
        $ends = self::now() + $this->patience;
        for ($tries = 1; ; $tries++) {
            [$status, $answer, $wait] = $this->try($body, $headers);
            $results = self::results($answer, $count);
            if ($status === 202 && $results !== null) {
                return $results;
            }
            $error = is_array($answer) ? $answer["error"] ?? $answer : $answer;
            $reason = is_string($error) ? $error : json_encode($error);
            if (!in_array($status, [null, 202, ...self::PASSING], true)) {
                throw $results !== null ? new LinesRefused($results) : new NotEnqueued("$status: $reason", $key);
            }
            $pause = max($wait, lcg_value() * min(10, 0.1 * 2 ** $tries));
            if (self::now() + $pause >= $ends) {
                $last = $status ?? "no answer";
                throw new NotEnqueued("given up after $tries tries: $last: $reason", $key);
            }
            usleep((int) ($pause * 1e6));
        }
    }

    /** Status, JSON or text, seconds to wait; no status where there was no answer, or none that could be read to its end. */
    private function try(string $body, array $headers): array
    {
        $lines = array_map(fn ($name, $value) => "$name: $value", array_keys($headers), $headers);
        // A token goes to nobody but whom it was meant for: no redirects.
        $http = ["method" => "POST", "header" => $lines, "content" => $body, "timeout" => $this->timeout,
            "ignore_errors" => true, "follow_location" => 0, "protocol_version" => 1.1];
        $http["header"][] = "connection: close";
        $stream = @fopen($this->url, "r", false, stream_context_create(["http" => $http]));
        if ($stream === false) {
            return [null, error_get_last()["message"] ?? "no connection", 0];
        }
        $head = stream_get_meta_data($stream)["wrapper_data"];
        $text = self::rest($stream, self::now() + $this->timeout);
        fclose($stream);
        if ($text === null) {
            return [null, "the answer did not come to its end in time", 0];
        }
        $status = (int) (explode(" ", $head[0])[1] ?? 0) ?: null;
        $waits = preg_replace("/^retry-after: */i", "", preg_grep("/^retry-after:/i", $head));
        return [$status, json_decode($text, true) ?? $text, self::wait(trim(reset($waits) ?: ""))];
    }

    /** All that comes, unless it takes too long. A stream's timeout is for each piece: an answer that drips would never end. */
    private static function rest($stream, float $ends): ?string
    {
        for ($text = ""; !feof($stream); $text .= fread($stream, 65536)) {
            $left = $ends - self::now();
            if ($left <= 0) {
                return null;
            }
            stream_set_timeout($stream, (int) $left, (int) (fmod($left, 1) * 1e6));
        }
        return $text;
    }

    /** The results of an answer that is a latchhook's to so many bodies; whatever else stands between may answer too. */
    private static function results(mixed $answer, int $count): ?array
    {
        $results = is_array($answer) ? $answer["results"] ?? null : null;
        $is_ours = is_array($results) && array_is_list($results) && count($results) === $count;
        return $is_ours && array_filter($results, [self::class, "isResult"]) === $results ? $results : null;
    }

    private static function isResult(mixed $result): bool
    {
        return is_string($result["id"] ?? null) || isset($result["error"]["line"], $result["error"]["message"]);
    }

    /** The seconds that `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3). */
    private static function wait(string $retryAfter): float
    {
        $is_number = preg_match("/^\\d+\\z/", $retryAfter) === 1;
        return max(0, $is_number ? (float) $retryAfter : (strtotime($retryAfter) ?: 0) - time());
    }

    private static function line(string $body): array
    {
        $is_text = preg_match("//u", $body) === 1;
        return $is_text ? ["body" => $body] : ["body_base64" => base64_encode($body)];
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }
}

if (PHP_SAPI === "cli" && realpath($_SERVER["SCRIPT_FILENAME"]) === __FILE__) {
    [, $url, $source] = $argv;
    $text = stream_get_contents(STDIN);
    $bodies = $text === "" ? [] : explode("\n", preg_replace("/\n\\z/", "", $text));
    try {
        foreach ((new Client($url, $source, (string) getenv("LATCHHOOK_TOKEN")))->enqueueBatch($bodies) as $id) {
            echo $id, "\n";
        }
    } catch (NotEnqueued | LinesRefused $error) {
        foreach ($error->results ?? [] as $id) {
            echo $id ?? "-", "\n";
        }
        fwrite(STDERR, "latchhook: {$error->getMessage()}\n");
        exit(1);
    }
}
