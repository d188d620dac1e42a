"""The one table."""


def whole(row):
    return "never" if row["whole_after_seconds"] is None else f"{row['whole_after_seconds']:.0f}"


COLUMNS = [
    ("", lambda row: row["peer"]),
    ("events/s", lambda row: f"{row['events_per_second']:,.0f}"),
    ("CPU µs/event", lambda row: f"{row['cpu_us']:,.0f}"),
    ("of the peer", lambda row: f"{row['cpu_us_peer']:,.0f}"),
    ("Redis", lambda row: f"{row['cpu_us_redis']:,.0f}"),
    ("Postgres", lambda row: f"{row['cpu_us_postgres']:,.0f}"),
    ("events/s per core", lambda row: f"{row['events_per_second_and_core']:,.0f}"),
    ("memory MB", lambda row: f"{row['memory_bytes'] / 1e6:,.0f}"),
    ("p50 ms", lambda row: f"{row['p50_us'] / 1000:,.1f}"),
    ("p99 ms", lambda row: f"{row['p99_us'] / 1000:,.1f}"),
    ("lost", lambda row: str(row["lost"])),
    ("stuck", lambda row: str(row["stuck"])),
    ("heard twice", lambda row: str(row["heard_twice"])),
    ("rows twice", lambda row: str(row["rows_twice"])),
    ("whole after s", whole),
]


def cell(column, row):
    try:
        return column(row)
    except KeyError:
        return "-"


def table(rows):
    lines = [[title for title, _ in COLUMNS], *([cell(column, row) for _, column in COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]

    def line(cells):
        padded = [text.rjust(width) for text, width in zip(cells, widths)]
        padded[0] = cells[0].ljust(widths[0])
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    failures = [f"{row['peer']}: {row['failed']}" for row in rows if "failed" in row]
    return "\n".join([line(lines[0]), rule, *map(line, lines[1:]), *failures])
