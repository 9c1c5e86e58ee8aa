"""``python -m ctr``: the command under a name that nothing else on the machine can have."""

from ctr.cli import main

if __name__ == "__main__":
    main(prog_name="ctr")
