"""What the process that forks has in memory before it does: all of Clout, its kernels loaded."""

from importlib import import_module

from clout.main import Commands
from scorer.model import Model
from streams.decoders import decoder, decoder_names
from streams.warm_up import load_decoders, load_stages

for _command in Commands().values():
    assert _command
for _module in ("streams.worker", "streams.ingest", "streams.guard.role", "gateway.role", "tests.forks"):
    import_module(_module)
load_decoders(map(decoder, decoder_names()))
load_stages(Model())
