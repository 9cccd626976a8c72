"""`python -m wsiparse` is `wsiparse`."""

from wsiparse.cli.main import main

if __name__ == "__main__":
    main()
