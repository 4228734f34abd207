from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets (mnist, cifar10, imdb, ...), or a skip with the reason."""
    root = os.environ.get("KEEPERS_DATA") or Path(__file__).parents[2] / "shared" / "data"
    if not (Path(root) / "mnist" / "train.parquet").exists():
        pytest.skip(f"real data not found in {root}; set KEEPERS_DATA to the folder that holds it")
    return Path(root)
