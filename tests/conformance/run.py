"""Runs the cases of one file: every function whose name begins with "test_", each with a gateway of its own.

Started by dataplane/tests/conformance.rs, which is the gateway at the other end of standard input and output.
"""

import importlib
import sys
import traceback

from gateway import Gateway, Line


def main(name, line):
    document = line.read()
    module = importlib.import_module(name)
    for key, case in list(vars(module).items()):
        if not key.startswith("test_"):
            continue
        failure = None
        try:
            case(Gateway(line, document))
        except Exception:
            failure = traceback.format_exc(limit=-4)
        line.write({"case": f"{name}::{key}", "failure": failure})


if __name__ == "__main__":
    line = Line(sys.stdin, sys.stdout)
    # What a case prints is for people, and must not come between the answers.
    sys.stdout = sys.stderr
    main(sys.argv[1], line)
