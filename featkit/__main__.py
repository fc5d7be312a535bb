"""``python -m featkit``: the command line, where the script ``featkit`` is not on the path."""

from featkit.cli import main

if __name__ == "__main__":
    main()
