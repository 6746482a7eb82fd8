"""Contracts: what goes over the wire and what is stored, with no clock and no I/O."""
