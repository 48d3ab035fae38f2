"""Clinical applications: each a plan, its clinical metrics and a phantom."""
