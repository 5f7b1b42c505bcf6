"""``python -m processors`` is ``processors``."""

from processors.cli import main

if __name__ == "__main__":
    main()
