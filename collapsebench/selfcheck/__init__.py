"""The metrics against the exact tier, on the user's own machine: `collapsebench selfcheck`."""
