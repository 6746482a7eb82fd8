"""The guard: sees a fault of the whole population before anyone else does, stops it, and says so."""
