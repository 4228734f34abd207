"""A flipped byte in anything that is read back: repaired, refused with a remedy, or not read."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "byte_flips.py"


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("byte_flips", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["byte_flips"] = module
    spec.loader.exec_module(module)
    return module


byte_flips = _loaded()
QUICK = [name for name in byte_flips.KINDS if name != "features of a campaign"]


@pytest.mark.parametrize("name", QUICK)
def test_a_flipped_byte_changes_no_result_in_silence(name: str) -> None:
    found = byte_flips.run(name, 4, seed=1)
    wrong = [each for each in found if each["outcome"] in byte_flips.WRONG]
    assert not wrong, wrong
    if name != "journal":  # all of any other file is under a checksum
        assert not [each for each in found if each["outcome"] == "harmless"], found
