"""Reads callgrind's files: user instructions by function, inlined code counted with its caller."""
import collections
import re

NAME = re.compile(r"\((\d+)\)(?: (.*))?$")


class Profile:
    """itself and inclusive: {function: instructions}. A recursive function's inclusive figure counts
    its inner calls again."""

    def __init__(self, path):
        self.itself = collections.Counter()
        self.inclusive = collections.Counter()
        self.total = 0
        self._names = {"fn": {}, "file": {}, "ob": {}}
        with open(path, errors="replace") as f:
            self._read(f)
        for function, count in self.itself.items():
            self.inclusive[function] += count

    def _name(self, kind, text):
        found = NAME.match(text)
        if found is None:
            return text
        if found[2] is not None:
            self._names[kind][found[1]] = found[2]
        return self._names[kind].get(found[1], "?")

    def _read(self, lines):
        function, ob, file, in_call = "?", "", "", False
        for line in lines:
            line = line.rstrip("\n")
            key, _, value = line.partition("=")
            if line[:1].isdigit() or line[:1] in "+-*":
                words = line.split()
                cost = int(words[1]) if len(words) > 1 else 0
                if in_call:
                    self.inclusive[function] += cost
                    in_call = False
                else:
                    self.itself[function] += cost
                    self.total += cost
            elif key == "fn":
                function = self._named(self._name("fn", value), file, ob)
            elif key == "fl":
                file = self._name("file", value)
            elif key in ("fi", "fe", "cfi", "cfl"):
                self._name("file", value)
            elif key == "ob":
                ob = self._name("ob", value)
            elif key == "cob":
                self._name("ob", value)
            elif key == "cfn":
                self._name("fn", value)
            elif key == "calls":
                in_call = True

    @staticmethod
    def _named(name, file, ob):
        """file.c:function of our own code; function [library] of what has no debug information."""
        name = name.partition("'")[0]
        if file and not file.startswith("???"):
            return "%s:%s" % (file.rpartition("/")[2], name)
        return "%s [%s]" % (name, ob.rpartition("/")[2].partition(".so")[0])
