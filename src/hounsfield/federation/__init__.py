"""Hospitals train one model and no patient leaves: messages, sites, rounds, and the doors of each party.

Importing any module of this package first switches off what Flower and Ray would send home: usage counts and
the question whether there is a newer version. It must happen here, before the first import of either.
"""

import os

SWITCHES = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
os.environ.update(SWITCHES)

__all__ = ["SWITCHES"]
