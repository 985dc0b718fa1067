"""Checks of deploy/compose.yaml."""


def check(report, root, bin_dir):
    pass
