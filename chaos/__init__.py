"""Faults, really done to the service and its database while clients write; `make chaos`."""
