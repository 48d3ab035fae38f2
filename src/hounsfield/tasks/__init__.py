"""What a task is: how its answers become targets, its loss, and how its outputs are read."""
