"""What personal data look like. Each detector takes time in proportion to the text, whatever is in that.

None of them looks across the end of a line. Numbers of cards and accounts have a checksum, which tells them from other
numbers; how long they are depends on the network or the country.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Detector(NamedTuple):
    """What some data look like; `is_valid` is their checksum."""

    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool] | None = None

    def redact(self, text: str, mask: str) -> str:
        """The text with `mask` in the place of such data."""
        parts, done, start = [], 0, 0
        while match := self.pattern.search(text, start):
            if self.is_valid is None or self.is_valid(match[0]):
                parts += [text[done : match.start()], mask]
                done = start = match.end()
            else:
                start = match.start() + 1  # the data may begin in the middle of what only looks like them
            if match.end() == match.start():
                start += 1  # a pattern of nothing
        return "".join(parts) + text[done:]


def is_card(text: str) -> bool:
    """Whether Luhn's checksum is right."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = sum(digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[::-2]) + doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether the checksum is right (ISO 7064, modulo 97)."""
    compact = text.replace(" ", "").upper()
    return int((compact[4:] + compact[:4]).translate(LETTERS)) % 97 == 1


LETTERS = {letter: str(letter - ord("A") + 10) for letter in range(ord("A"), ord("Z") + 1)}

CARDS = {
    19: "[46][0-9]{3}",
    16: "(?:[46][0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|35[0-9]{2})",
    15: "3[47][0-9]{2}",
    14: "3[0689][0-9]{2}",
    13: "4[0-9]{3}",
}
"""How many digits a number has → its first four. The longest first: what follows a number may belong to it, or not."""

COUNTRIES = (
    "NO15 BE16 DK18 FI18 FK18 FO18 GL18 NL18 SD18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 MN20 XK20 CH21 HR21 LI21 LV21"
    " BG22 BH22 CR22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 SO23 TL23 AD24 CZ24 ES24 MD24 PK24"
    " RO24 SA24 SE24 SK24 TN24 VG24 LY25 PT25 ST25 IS26 TR26 BI27 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28"
    " CY28 DO28 GT28 HN28 HU28 LB28 NI28 PL28 SV28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 YE30 MT31 SC31 LC32 RU33"
)
"""How many characters the IBANs of each country have."""


def card(digits: int, first: str) -> Detector:
    """Numbers of so many digits, with spaces or hyphens between them; not those behind a decimal point."""
    return Detector(re.compile(rf"(?<![0-9])(?<![0-9]\.){first}(?:[ -]?[0-9]){{{digits - 4}}}(?![0-9])"), is_card)


def iban() -> Detector:
    """The account numbers of all countries, with spaces in them or without."""
    countries = "|".join(f"{entry[:2]}[0-9]{{2}}(?: ?[A-Z0-9]){{{int(entry[2:]) - 4}}}" for entry in COUNTRIES.split())
    return Detector(
        re.compile(f"(?<![A-Z0-9])(?=[A-Z]{{2}}[0-9]{{2}})(?:{countries})(?![A-Z0-9])", re.ASCII | re.IGNORECASE),
        is_iban,
    )


DETECTORS: dict[str, list[Detector]] = {
    "email": [
        Detector(re.compile(r"(?<![\w.%+'\udc80-\udcff-])[\w.%+'\udc80-\udcff-]++@(?:[\w-]++\.)+[^\W\d_][\w-]+"))
    ],
    "card": [card(digits, first) for digits, first in CARDS.items()],
    "iban": [iban()],
    "ssn": [Detector(re.compile("(?<![0-9-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9-])"))],
    "phone": [
        Detector(re.compile(r"(?<![\w+])\+[0-9](?:[ ().-]{0,2}[0-9]){7,14}(?![0-9])")),
        Detector(re.compile(r"(?<![\w-])\(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}(?![\w-])")),
    ],
}
"""Kind → its detectors, which are used in this order."""


class Redactor:
    """Redacts texts, and JSON."""

    def __init__(self, kinds: Iterable[tuple[str, list[Detector]]], mask: str) -> None:
        self._detectors = [(each, mask.replace("{}", kind)) for kind, detectors in kinds for each in detectors]

    def text(self, text: str) -> str:
        """The text without personal data."""
        for detector, mask in self._detectors:
            text = detector.redact(text, mask)
        return text

    def json(self, text: str) -> str:
        """JSON, in which strings, keys and numbers are looked at as what they mean, and everything else stays.

        It is not parsed as a whole: so it may be as deep as it likes, and what is no JSON is treated as far as it is.
        """
        return TOKEN.sub(self._token, text)

    def _token(self, match: re.Match[str]) -> str:
        token = match[0]
        try:
            value = json.loads(token) if "\\" in token else token.strip('"')
        except ValueError:  # no JSON
            value = token
        redacted = self.text(value)
        return token if redacted == value else json.dumps(redacted)


TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|-?[0-9][0-9.eE+-]*+', re.DOTALL)
"""A string, also one that does not end, or a number."""
