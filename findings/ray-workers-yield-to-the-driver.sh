#!/usr/bin/env bash
# Believed: a task or an actor with num_cpus=1 on a Ray that `ray.init()` starts on this machine has a core
#   like any other process, the driver included.
# So: Ray starts its workers with a niceness of 15 (RAY_worker_niceness) over that of the driver. Where
#   cores are scarce, a worker that the driver waits for comes last.
#   `_system_config={"worker_niceness": 0}`, or the variable before Ray starts, changes it.
# Bites: whoever has a training loop wait for actors on its own machine (scoring, loading, parameter
#   servers), and whoever measures two processes side by side that way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet ray==2.60.0
venv/bin/pip list 2>/dev/null | grep -E "^ray "
cat > script.py <<'PYTHON'
import os
import sys

import ray

ray.init(
    address="local",
    num_cpus=1,
    include_dashboard=False,
    log_to_driver=False,
    _system_config={"worker_niceness": 0} if sys.argv[1] == "0" else None,
)


@ray.remote(num_cpus=1)
class Actor:
    def niceness(self):
        return os.nice(0)


print("niceness:", ray.get(Actor.remote().niceness.remote()) - os.nice(0))
PYTHON
default=$(venv/bin/python script.py default 2>/dev/null | grep niceness)
changed=$(venv/bin/python script.py 0 2>/dev/null | grep niceness)
echo "an actor over its driver, by default: $default"
echo "with worker_niceness 0: $changed"
[ "$default" = "niceness: 15" ] && [ "$changed" = "niceness: 0" ]
