"""`python -m lineal` is `lineal`."""

from lineal.cli import main

main()
