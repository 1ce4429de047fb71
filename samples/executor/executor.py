"""What an executor's image runs: one call of a Python function, and its value handed back.

It serves ``abaco.executor``, and the executors of the older Abaco's clients: those send a pickled
call as a binary message, want the pickled value as one result, and a failure as an exit code.
"""

import os
import sys

import actors  # abaco/actors.py, copied beside this file
import calls  # abaco/calls.py, too
import cloudpickle

#: bytes of a piece that is a file
FILE_PIECE_BYTES = 8 * 1024 * 1024


def main() -> int:
    """Do the call that is the message; return the exit code."""
    call = calls.call_of_text(os.environ.get("MSG", "")) or actors.get_binary_message()
    if os.environ.get(calls.ASKS_FOR_ERRORS) != "1":
        actors.send_python_result(calls.run_call(call))
        return 0
    outcome = calls.run_for_outcome(cloudpickle, call, os.environ)
    if sys.stdout is not None and not sys.stdout.closed:  # the function may have closed it
        sys.stdout.flush()
    # a value of many datagrams is one file where files are taken
    is_large = len(outcome.pickled) > 8 * actors.MAX_RESULT_BYTES
    takes_files = is_large and actors.RESULTS_DIRECTORY.is_dir()
    piece_bytes = FILE_PIECE_BYTES if takes_files else actors.MAX_RESULT_BYTES
    for piece in calls.cut(outcome.pickled, piece_bytes):
        actors.send_bytes_result(piece)
    return int(outcome.is_error)


if __name__ == "__main__":
    sys.exit(main())
