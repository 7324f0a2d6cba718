#!/bin/bash
# Make `runs.sqlite` and `runs.jsonl` in the working folder, gzipped, with the collapsebench on the PATH. README.md says more.
set -u
here=$(cd "$(dirname "$0")" && pwd)
run() { collapsebench run -q --store runs.sqlite --work-dir files "$@"; }

# Two protocols of one dataset, one of them with a label of its track; sweeps; files of codes.
run --dataset linear-gaussian --budget 30steps --set evaluation.every=10steps --method 'sa-vae[steps=2|3]' --seeds 2 --keep-codes
run --dataset linear-gaussian --budget 20steps --set optimizer.learning_rate=0.02 --method 'kl-annealing[warmup=1]'
# Columns that mean nothing for a contender, and that a dataset declines.
run --dataset digits --budget 20steps --set evaluation.every=10steps --method no-latent --method skip
# Tracks of files: one protocol under two names.
cat > mine.toml <<'END'
description = "a track of a file"
budget = "10steps"
latent_dim = 2
batch_size = 50
encoder = "linear"
decoder = { name = "linear", variance = 1.5, learn_variance = false }
optimizer = { name = "adam", learning_rate = 1e-2 }
evaluation = { every = "5steps", metrics = { neg-elbo = {}, kl = {}, iw-nll = { samples = 10 } } }
END
cp mine.toml yours.toml
run --dataset linear-gaussian --track mine.toml --seed 1
run --dataset linear-gaussian --track yours.toml --seed 2
# A schedule, and a learning rate that spoils what was learned.
run --dataset linear-gaussian --budget 40steps --set optimizer.learning_rate=1 --set evaluation.every=5steps --method 'kl-annealing[warmup=1]'
# Numbers that are none, and letters of many kinds.
collapsebench runs import "$here/unusual.jsonl" --store runs.sqlite
# A run that diverges, one that fails in a plugin, one that is stopped, and one that is killed.
run --dataset linear-gaussian --budget 30steps --set optimizer.learning_rate=1e30 --set evaluation.every=10steps --no-baseline --method skip
run --dataset linear-gaussian --budget 10steps --plugin "$here/failing.py" --method failing
stop() {
  collapsebench run -q --store runs.sqlite --work-dir files --dataset linear-gaussian --budget 1000000steps --seed "$2" &
  until collapsebench runs list --json --store runs.sqlite | grep -q '"started"'; do sleep 0.2; done
  sleep 2
  kill -s "$1" $!
  wait $!
}
stop TERM 7
stop KILL 8
# No path of the machine stays in the store.
python - <<'END'
import re, sqlite3
from contextlib import closing
with closing(sqlite3.connect("runs.sqlite", isolation_level=None)) as store:
    store.create_function("short", 1, lambda text: re.sub(r"/\S*/(?=collapsebench/|site-packages/|stores/|codes/)", "", text))
    store.execute("UPDATE runs SET traceback = short(traceback)")
    store.execute("UPDATE artifacts SET location = short(location)")
    store.execute("PRAGMA journal_mode = DELETE")
END
collapsebench runs export runs.jsonl --store runs.sqlite
collapsebench leaderboard --format json --store runs.sqlite --output boards.json
gzip -9 -n -f -k runs.sqlite runs.jsonl boards.json
