"""``python -m umbel``: the command line, where the script ``umbel`` is not on the path."""

from umbel.cli import main

if __name__ == "__main__":
    main()
