#!/usr/bin/env bash
# Believed: `accelerate launch --cpu --num_processes 2 script.py` starts two processes on the CPU, as
#   torchrun does; the launcher's help says of --num_processes "the total number of processes to be
#   launched in parallel".
# So: it starts one and exits with 0, without a word about the number.
#   torchrun with the same script starts two.
# Bites: whoever tests a distributed sampler, loader or selection on a machine without GPUs: every such
#   test passes, on one process.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 accelerate==1.15.0 numpy==2.4.6
cat > script.py <<'PYTHON'
from accelerate import Accelerator

print("processes:", Accelerator(cpu=True).num_processes, flush=True)
PYTHON
export OMP_NUM_THREADS=1
venv/bin/pip list 2>/dev/null | grep -E "^(accelerate|torch) "
launched=$(venv/bin/accelerate launch --cpu --num_processes 2 script.py 2>/dev/null | grep -c "processes: 1")
echo "accelerate launch --cpu --num_processes 2: $launched process, of a group of 1"
run=$(venv/bin/torchrun --nproc-per-node 2 --master-port 29611 script.py 2>/dev/null | grep -c "processes: 2")
echo "torchrun --nproc-per-node 2: $run processes, of a group of 2"
[ "$launched" = 1 ] && [ "$run" = 2 ]
