#!/usr/bin/env python3
"""No function of ours may bear the name of one in a library that we link: the linker would take ours, silently.

  tests/lint/symbols.py [BUILD_DIR]      default build/release
Closes with "N passed, N failed".
"""
import os
import subprocess
import sys

LIBRARIES = ["jansson", "curl", "pq", "fyaml", "uv", "crypto", "ssl", "z", "zstd", "grpc", "gpr", "protobuf-c", "lbfgs"]


def names(path, dynamic):
    out = subprocess.run(["nm", "--defined-only"] + (["-D"] if dynamic else []) + [path], capture_output=True, text=True)
    return {w[2].split("@")[0] for w in map(str.split, out.stdout.splitlines()) if len(w) == 3 and w[1] in "TDBRW"}


def library(name):
    out = subprocess.run(["cc", "-print-file-name=lib%s.so" % name], capture_output=True, text=True, check=True)
    return out.stdout.strip()


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "build/release"
    ours = {}
    for folder, _, files in os.walk(build):
        for f in files:
            if f.endswith(".a"):
                for name in names(os.path.join(folder, f), False):
                    ours.setdefault(name, f)
    failed = 0
    for name in LIBRARIES:
        clash = sorted(set(ours) & names(library(name), True))
        for symbol in clash:
            print("%s: %s is also in lib%s" % (ours[symbol], symbol, name))
        failed += bool(clash)
    print("symbols: %d passed, %d failed" % (len(LIBRARIES) - failed, failed))
    return 1 if failed or not ours else 0


sys.exit(main())
