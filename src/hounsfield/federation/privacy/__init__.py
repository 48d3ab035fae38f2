"""What hides a patient in what leaves a site: noise with a budget, sums under masks, counts of many."""
