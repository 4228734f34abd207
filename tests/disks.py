"""Tests cut no power, so what they write need not be on the disk before they go on.

A file that is synced takes 2 to 10 ms, and thousands are written. What a killed process has
written outlasts it all the same.
"""

import os

from keepers.campaign import journal

SYNC, SYNCHRONOUS = os.fsync, journal.SYNCHRONOUS


def never_waited_for() -> None:
    """In this process and its forks."""
    os.fsync = lambda handle: None
    journal.SYNCHRONOUS = "OFF"
