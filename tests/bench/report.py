"""Results as a table for a terminal and as the tables of docs/performance.md."""
from bed import expect
from cases import PAIRS, PASSED, WITH_ACCOUNTS

BEGIN, END = "<!-- results:", "<!-- end of results -->"


def number(value):
    if value is None:
        return "-"
    if isinstance(value, bool) or value == float("inf"):
        return "never" if value == float("inf") else str(value)
    if value == int(value) and abs(value) < 1e12:
        return "{:,}".format(int(value))
    return "{:,.0f}".format(value) if abs(value) >= 1000 else "%.2f" % value if abs(value) < 10 else \
        "%.1f" % value


def met(row):
    if row["met"] is None:
        return "not measured"
    return ("no", "yes", "stretch")[row["met"] + bool(row["met"] and row["stretch_met"])]


def tables(result):
    """(title, heads, rows of texts), the same for both forms."""
    yield ("Marks", ["mark", "asked", "stretch", "measured", "met"], [
        [row["mark"], ("<= %s %s" % (number(row["limit"]), row["unit"])).strip(),
         number(row["stretch"]), ("%s %s" % (number(row["measured"]), row["unit"])).strip()
         if row["measured"] is not None else "-", met(row)] for row in result["marks"]
        if row["measured"] is not None or not result["only"]])
    across = [row for row in result.get("proxy", []) if PASSED in row["by"]]
    rows = [row for row in result.get("proxy", []) if row not in across]
    names = [n for n in ("bare relay", "deciding relay", "nginx", "nginx logging", "haproxy", "node", "node lean", "node libcurl",
                         result["node"] + WITH_ACCOUNTS)
             if any(n in row["by"] for row in rows)]
    if rows:
        yield ("CPU microseconds a request, or an event: median (least to most of the rounds)",
               ["case"] + names + ["%s / nginx" % result["node"]],
               [[row["case"]] + [_cpu(row["by"].get(n)) for n in names] + [_ratio(row, result["node"])]
                for row in rows])
    if across:
        pairs = [name for name, _, _ in PAIRS]
        yield ("Across dialects: the node's CPU microseconds a request, or an event, and times %s" % PASSED,
               ["case"] + pairs,
               [[row["case"]] + ["%s, %.2f" % (_cpu(row["by"][n]),
                                               row["by"][n]["cpu_us"] / row["by"][PASSED]["cpu_us"])
                                 for n in pairs] for row in across])
    waits = [row for row in rows if "direct" in row["by"]]
    if waits:
        yield ("Added latency at one connection, microseconds: p50 / p99", ["case"] + names,
               [[row["case"]] + ["%.0f / %.0f" % (row["by"][n]["added_p50_us"], row["by"][n]["added_p99_us"])
                                 if n in row["by"] else "-" for n in names] for row in waits])
    streams = [row for row in rows if row["unit"] == "event"]
    if streams:
        yield ("From the provider's write to the client's read, microseconds: p50 / p99, late events",
               ["case"] + [n for n in names if n in streams[0]["by"]],
               [[row["case"]] + ["%.0f / %.0f, %d" % (by["delay_p50_us"], by["delay_p99_us"], by["late"])
                                 for by in (row["by"][n] for n in names if n in row["by"])]
                for row in streams])
    counted = result.get("instructions")
    if counted:
        kinds = sorted({kind for by in counted["by"].values() for kind in by})
        yield ("User instructions of %s, counted by %s" % (counted.get("threads", "all threads"),
                                                           counted["method"]), ["of"] + kinds,
               [[name] + [number(by.get(kind)) for kind in kinds] for name, by in counted["by"].items()])
    for name in ("capacity",):
        for case, fields in result.get(name, {}).items():
            yield (case, list(fields), [[number(value) for value in fields.values()]])
    if "decision" in result:
        shapes = result["decision"]["results"]
        yield ("Decision, kernel %s" % result["decision"]["kernel"], list(shapes[0]),
               [[number(v) if not isinstance(v, str) else v for v in shape.values()] for shape in shapes])
    for name in ("telemetry", "ingest"):
        flat = {k: v for k, v in result.get(name, {}).items() if isinstance(v, (int, float))}
        if flat:
            yield (name, list(flat), [[number(v) for v in flat.values()]])


def _cpu(by):
    return "-" if by is None else "%.1f (%.1f to %.1f)" % (by["cpu_us"], by["cpu_us_min"], by["cpu_us_max"])


def _ratio(row, node):
    if node not in row["by"] or "nginx" not in row["by"]:
        return "-"
    return "%.2f" % (row["by"][node]["cpu_us"] / row["by"]["nginx"]["cpu_us"])


def as_text(lines):
    """The first column to the left, figures to the right."""
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                      for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines]


def as_markdown(heads, rows):
    return ["| %s |" % " | ".join(heads), "|%s" % ("---|" + "---:|" * (len(heads) - 1))] + [
        "| %s |" % " | ".join(str(cell) for cell in row) for row in rows]


def text(result):
    out = ["%s; %s" % (result["machine"], result["date"]),
           "%d rounds of %d s; %s" % (result["rounds"], result["seconds"], "; ".join(result["notes"]))]
    for title, heads, rows in tables(result):
        out += ["", title] + ["  " + line for line in as_text([heads] + rows)]
    return "\n".join(out)


def markdown(result):
    out = ["%s. %s. Commit %s. %d rounds of %d s. %s" % (
        result["machine"], result["date"], result["commit"], result["rounds"], result["seconds"],
        " ".join(note[0].upper() + note[1:] + "." for note in result["notes"]))]
    for title, heads, rows in tables(result):
        out += ["", "### %s" % (title[0].upper() + title[1:]), ""] + as_markdown(heads, rows)
    return "\n".join(out)


def put_between(path, begin, end, text):
    """Replaces what stands between two comments of a page, so that no figure is typed."""
    with open(path, encoding="utf-8") as f:
        page = f.read()
    expect(begin in page and end in page, "%s has no '%s' and '%s'" % (path, begin, end))
    start = page.index("-->", page.index(begin)) + len("-->")
    with open(path, "w", encoding="utf-8") as f:
        f.write(page[:start] + "\n" + text + "\n" + page[page.index(end):])


def write_into(path, result):
    put_between(path, BEGIN, END, markdown(result))
