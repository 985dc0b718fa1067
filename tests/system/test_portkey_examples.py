"""The configs that Portkey's own gateway ships as examples, in its page and its README, import: every key of them has
a finding, and what comes of them is a configuration. The package is fetched, at one version; nothing of it is kept.
"""
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile

from harness import BIN, expect
from skip import Skip

PACKAGE = "@portkey-ai/gateway@1.15.2"
KEYS = {"strategy", "targets", "retry", "cache", "request_timeout", "override_params"}
FEWEST = 10  # Of that version.


def fetch(into):
    """The texts of the package that have examples."""
    if not shutil.which("npm"):
        raise Skip("npm is not on this machine")
    try:
        done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=into, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Skip("%s cannot be fetched: no answer" % PACKAGE)
    if done.returncode != 0:
        raise Skip("%s cannot be fetched: %s" % (PACKAGE, done.stderr.strip()[:200]))
    with tarfile.open(os.path.join(into, done.stdout.split()[-1])) as tar:
        for name in ("package/README.md", "package/build/public/index.html"):
            yield tar.extractfile(name).read().decode()


# A string, a comment, a word, or any other byte of JSON, JavaScript and Python alike.
TOKEN = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|//[^\n]*|\#[^\n]*|[A-Za-z_]\w*|\s+|.""", re.S)
WORDS = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}


def object_at(text, start):
    """The object literal that begins there, as JSON; None: it is none."""
    out, depth = [], 0
    for token in TOKEN.finditer(text, start):
        t = token.group()
        if t[0] in "'\"" and len(t) > 1:
            out.append(json.dumps(t[1:-1].replace("\\'", "'")) if t[0] == "'" else t)
        elif t.startswith("//") or t[0] == "#" or t.isspace():
            continue
        elif t[0].isalpha() or t[0] == "_":
            out.append(WORDS.get(t, json.dumps(t)))
        else:
            depth += (t in "{[") - (t in "}]")
            if t in "}]" and out and out[-1] == ",":
                out.pop()
            out.append(t)
        if depth == 0:
            break
    try:
        return json.loads("".join(out))
    except ValueError:
        return None


def configs_in(text):
    end = 0
    for match in re.finditer(r"\{", text):
        if match.start() < end:
            continue
        found = object_at(text, match.start())
        if isinstance(found, dict) and KEYS & set(found):
            depth, end = 0, match.start()
            for token in TOKEN.finditer(text, match.start()):
                depth += (token.group() == "{") - (token.group() == "}")
                end = token.end()
                if depth == 0:
                    break
            yield found


def leaves(value, path=""):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, "%s.%s" % (path, key) if path else key)
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from leaves(inner, "%s[%d]" % (path, i))
    else:
        yield path


def is_told(leaf, findings):
    return any(leaf == f or (f and leaf.startswith(f) and leaf[len(f)] in ".[") for f in findings)


def test_every_key_of_portkeys_published_examples_has_a_finding():
    with tempfile.TemporaryDirectory() as scratch:
        examples = [config for text in fetch(scratch) for config in configs_in(text)]
        expect(len(examples) >= FEWEST, "only %d examples were found" % len(examples))
        counts, modes = {}, set()
        for i, example in enumerate(examples):
            file, out = os.path.join(scratch, "example.json"), os.path.join(scratch, "out-%d.yaml" % i)
            with open(file, "w") as f:
                json.dump(example, f)
            done = subprocess.run([os.path.join(BIN, "steelyard"), "import", "portkey", file, "--model", "gpt-4o", "-o", "json",
                                   "--write", out], capture_output=True, text=True)
            expect(done.returncode in (0, 10), "%s: %s" % (example, done.stderr))
            findings = json.loads(done.stdout)["findings"]
            missing = [leaf for leaf in leaves(example) if not is_told(leaf, [f["path"] for f in findings])]
            expect(not missing, "%s: nothing is said of %s" % (example, missing))
            for finding in findings:
                counts[finding["verdict"]] = counts.get(finding["verdict"], 0) + 1
            modes.add(example.get("strategy", {}).get("mode"))
            done = subprocess.run([os.path.join(BIN, "steelyard"), "config", "validate", out], capture_output=True, text=True)
            expect(done.returncode == 0, "%s: %s" % (example, done.stderr + done.stdout))
        expect({"loadbalance", "fallback"} <= modes, str(modes))
        return "%d examples: %s" % (len(examples), ", ".join("%d %s" % (n, v) for v, n in sorted(counts.items())))
