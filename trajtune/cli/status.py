"""trajtune status"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trajtune.cli.output import Output, duration


@dataclass
class Status:
    """Say how far a study is, who works on what, what failed and why, and when it will end. It may be under way."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of the results."""
    follow: bool = False
    """Say it again every ten seconds, until all is done or has failed."""
    json: bool = False
    """Print one JSON object."""

    def run(self, out: Output) -> None:
        import time

        from trajtune.study.status import status_of

        found = status_of(self.folder)
        while self.follow and (found.running or found.done + len(found.failed) < found.runs):
            out.progress(f"runs of {self.folder}", found.done, found.runs)
            time.sleep(EVERY)
            found = status_of(self.folder)
        out.close()
        for place in found.diverged:
            out.say(f"diverged: {place}")
        for place, reason in found.failed.items():
            out.say(f"failed: {place}: {reason} (the same study tries it again)")
        for place, who in found.running.items():
            out.say(f"running: {place}: {who}")
        others = f", and {found.others} of cells that it does not declare" if found.others else ""
        out.say(f"{found.done} of {found.runs} runs are done{others}{_end(found.seconds_left, bool(found.running))}")
        out.result({"folder": str(self.folder), **asdict(found)})


EVERY = 10.0


def _end(seconds: float | None, running: bool) -> str:
    """When it will end, in words."""
    if seconds == 0.0:
        return ""
    if not running:
        return "; nobody is at work: the same study command goes on"
    if seconds is None:
        return ""
    return f"; at this pace the rest takes {duration(seconds)}"
