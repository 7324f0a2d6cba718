"""`collapsebench selfcheck`: the metrics beside exact values, on the machine of the user."""
