"""What the kernel holds for sockets, as `ss -m` tells it (ss(8), "skmem")."""
import re

# rb and tb are limits, t counts again what w does, d is a number of drops.
SKMEM = re.compile(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+),o(\d+),bl(\d+)")


def held_bytes(line):
    """Received and not yet read, taken in advance, sent or to be sent, options, backlog; 0 without any."""
    found = SKMEM.search(line)
    return sum(signed(int(n)) for n in found.groups()) if found else 0


def signed(number):
    """What was taken in advance may be below zero for a moment, and is printed without its sign."""
    return number - 2**32 if number >= 2**31 else number
