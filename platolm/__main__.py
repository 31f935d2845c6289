"""`python -m platolm`, the same as `platolm`."""

from platolm.cli.app import main

main()
