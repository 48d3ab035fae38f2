"""The command `hu`: one file a command, nothing heavy imported before it is needed."""
