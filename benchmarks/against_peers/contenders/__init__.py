"""The contenders: each file makes one side of a comparison and imports only what that side needs."""
