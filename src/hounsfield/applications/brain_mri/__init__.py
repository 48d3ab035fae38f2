"""Brain MRI: simulated T1-weighted heads over several visits with known loss of tissue."""
