"""`python -m clout` is `clout`."""

from clout.main import main

main()
