"""``python -m abaco``: the command line."""

from abaco.cli.main import main

if __name__ == "__main__":
    main()
