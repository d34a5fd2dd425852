"""The demo: everything on one machine, from a simulated cluster to the mail."""
