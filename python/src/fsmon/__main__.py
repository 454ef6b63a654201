"""`python -m fsmon [--salvage] [--follow] [--chain] [--cmdline] FILE|DIR|-`: JSON lines."""

import argparse
import sys

from . import FsmonError, Gap, line, open
from ._lines import text


def main():
    parser = argparse.ArgumentParser(prog="python -m fsmon", description=__doc__)
    for option in ("salvage", "follow", "chain", "cmdline"):
        parser.add_argument(f"--{option}", action="store_true")
    parser.add_argument("source", metavar="FILE|DIR|-")
    args = parser.parse_args()
    source = sys.stdin.buffer.raw if args.source == "-" else args.source
    out, code = sys.stdout.buffer, 0
    try:
        for item in open(source, salvage=args.salvage, follow=args.follow).items():
            if isinstance(item, Gap):
                print(f"fsmon: byte {item.offset}: {item.what}", file=sys.stderr)
                code = 1
            for fields in line(item, args.chain, args.cmdline):
                out.write(text(fields).encode() + b"\n")
        out.flush()
    except BrokenPipeError:
        return 0
    except (FsmonError, OSError) as error:
        out.flush()
        print(f"fsmon: {args.source}: {error}", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
