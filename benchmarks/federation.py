"""What a federation on several hosts costs beside the sites' own learning: seconds and bytes a round.

A coordinator and four sites, each a process of its own, on this machine: TLS, signed requests, audit logs and
checkpoints as in use. Sites answer at once, so that what is measured is overhead alone.

    python benchmarks/federation.py --weights 8034 --rounds 20
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "federation"))

from deployed import Federation, expected

from hounsfield.federation.audit_log import NAME, entries


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--sites", type=int, default=4)
    given.add_argument("--weights", type=int, default=8034)
    given.add_argument("--rounds", type=int, default=20)
    asked = given.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rounds = {"rounds": asked.rounds, "size": asked.weights, "timeout": 300.0}
        federation = Federation(Path(place), sites=asked.sites, rounds=rounds)
        try:
            federation.begin_all()
            federation.order()
            federation.until(federation.finished, seconds=170)
            _say(federation, asked)
        finally:
            federation.end()


def _say(federation: Federation, asked: argparse.Namespace) -> None:
    times = federation.checkpoint()["times"]
    right = expected(asked.sites, asked.rounds, asked.weights).tolist() == federation.checkpoint()["vector"]
    out, back = [], []
    for site in range(asked.sites):
        for entry in entries(federation.place / f"site-{site}" / NAME):
            if entry["what"] == "sent":
                back.append(entry["details"]["bytes"])
            if entry["what"] == "asked":
                out.append(sum(item["bytes"] for item in entry["details"]["items"]))
    weights = 4 * asked.weights
    found = {
        "sites": asked.sites,
        "weights_bytes": weights,
        "rounds": len(times),
        "first_round_s": round(times[0], 3),
        "round_s_median": round(median(times[1:]), 3),
        "round_s_worst": round(max(times[1:]), 3),
        "asked_bytes_of_weights": round(median(out) / weights, 4),
        "sent_on_the_wire_of_weights": round(median(back) / weights, 4),
        "right": right,
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
