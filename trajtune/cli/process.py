"""What the command line does to its own process: Ctrl-C, and output that no terminal can show.

Imported first of all, so it imports next to nothing itself.
"""

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

STOPPED = 130
SAID = "trajtune: stopped; the same command goes on from what was saved"


def own_process() -> int:
    """Run the command that this process was started for."""
    signal.signal(signal.SIGINT, _interrupt)
    _speak_plainly()
    from trajtune.cli.running import run

    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # between two lines of what handles it
        print(SAID, file=sys.stderr)
        code = STOPPED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done; the interpreter clears up
    return code


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Stop. While modules are imported, at once: libraries turn an exception there into many others."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            import os

            os.write(2, f"{SAID}\n".encode())
            os._exit(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _speak_plainly() -> None:
    """Let what the encoding of the output cannot express be written in ASCII, instead of failing."""
    import codecs

    codecs.register_error("trajtune", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # whatever stands in for a stream may not have it
            stream.reconfigure(errors="trajtune")


ASCII = {"×": "x", "→": "->", "…": "...", "–": "-", "—": "-", "±": "+-", "≥": ">=", "≤": "<=", "•": "*", "µ": "u"}
ARROWS = {"↑": "^", "↓": "v"}
BOXES = dict.fromkeys("│┃║", "|") | dict.fromkeys("─━═╴╶╸╺╌", "-") | dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    odd = error.object[error.start : error.end]
    return "".join((ASCII | ARROWS | BOXES).get(each, "?") for each in odd), error.end
