"""Metrics that carry their n and a 95 % interval clustered by patient; numpy, never torch.

Import from the files: `from hounsfield.metrics.summary import classification_metrics`.
"""
