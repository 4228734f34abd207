"""`python -m keepers` is the command `keepers`."""

from keepers.cli import main

if __name__ == "__main__":
    main()
