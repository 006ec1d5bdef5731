"""Text files that say which emotion is spoken when in a long recording.

One segment per line, `start end label text`, the parts separated by tabs, commas, semicolons or spaces:

    12.5 <tab> 41.2 <tab> awe               an Audacity label track; so do commas and semicolons
    00:12.5 - 00:41.2  Surprise (Negative)  clock times mm:ss or hh:mm:ss, also in brackets
    12500, 41200, awe, "What is that?"      milliseconds, when as seconds they would pass the end of the
    recording 0:12 awe                                no end: the segment lasts to the next start, the last
    to the end

Empty lines, lines that start with `#` and a header line are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from vocalburst.gen.data.errors import InputDataError

TIME = r"[\[(]?(\d+(?::\d{1,2}){0,2}(?:\.\d+)?)[\])]?"
LINE = re.compile(rf"^{TIME}(?:\s*(?:-->|[-–,;\s])\s*{TIME})?\s*[-–,;:\s]\s*(?P<label>[^\d\s].*)$")
HEADER = re.compile(r"^\W*(start|begin|onset|from|time|timestamp)\b(?!.*\d)", re.IGNORECASE)
TOLERANCE = 1.0  # seconds that a last time may pass the end: players round, and mp3 adds padding


@dataclass(frozen=True)
class Segment:
    """A labelled part of a recording; times in seconds."""

    start: float
    end: float
    label: str
    line: int  # counted from 1


def parse_timestamps(text: str, seconds: float, label_of: Callable[[str], str], name: str) -> list[Segment]:
    """Segments of a timestamp text, in the order of time.

    seconds: length of the recording, which decides between seconds and milliseconds.
    label_of: turns what follows the times (label, then perhaps text) into a label, or raises InputDataError.
    Raises InputDataError, beginning with `name`, for a line of another form, an end that is not after its
    start and a time past the end of the recording.
    """
    found: list[tuple[str, str | None, str, int]] = []
    for line, written in enumerate(text.splitlines(), 1):
        stripped = written.strip()
        if not stripped or stripped.startswith("#") or (not found and HEADER.match(stripped)):
            continue
        match = LINE.match(stripped)
        if not match:
            raise InputDataError(
                f"{name}, line {line}: expected 'start end label' or 'start label', found {stripped!r}"
            )
        try:
            label = label_of(match["label"])
        except InputDataError as error:
            raise InputDataError(f"{name}, line {line}: {error}") from None
        found.append((match[1], match[2], label, line))
    if not found:
        raise InputDataError(f"{name}: holds no timestamps")
    unit = plain_unit([time for start, end, _, _ in found for time in (start, end) if time], seconds, name)
    starts = sorted(to_seconds(start, unit) for start, _, _, _ in found)
    segments = []
    for start_text, end_text, label, line in found:
        start = to_seconds(start_text, unit)
        following = next((later for later in starts if later > start), seconds)
        end = to_seconds(end_text, unit) if end_text else following
        if end > seconds + TOLERANCE:
            raise InputDataError(
                f"{name}, line {line}: ends at {end:g} s, the recording lasts {seconds:.1f} s"
            )
        end = min(end, seconds)
        if end <= start:
            raise InputDataError(f"{name}, line {line}: the end {end:g} s is not after the start {start:g} s")
        segments.append(Segment(start, end, label, line))
    return sorted(segments, key=lambda segment: segment.start)


def plain_unit(times: list[str], seconds: float, name: str) -> float:
    """Seconds per unit of the numbers without a colon: 1, or 0.001 if only so they fit the recording."""
    largest = max((float(time) for time in times if ":" not in time), default=0.0)
    for unit in (1.0, 0.001):
        if largest * unit <= seconds + TOLERANCE:
            return unit
    raise InputDataError(
        f"{name}: times reach {largest:g}, neither as seconds nor as milliseconds inside {seconds:.1f} s"
    )


def to_seconds(time: str, unit: float) -> float:
    """`1:02:03.5` -> 3723.5; a number without a colon times `unit`."""
    if ":" not in time:
        return float(time) * unit
    total = 0.0
    for part in time.split(":"):
        total = 60 * total + float(part)
    return total
