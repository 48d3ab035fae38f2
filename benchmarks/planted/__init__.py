"""Faults planted into cohorts, and cohorts without any: see benchmarks/planted_faults.py."""
