"""What points to a person (addresses, telephone, card and account numbers) replaced by a name of its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from phonenumbers import PhoneNumberMatcher

from curation.clean.settings import StageName
from curation.dialogue import Dialogue
from platolm.conversation import Message

Span = tuple[int, int]

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.){1,8}[^\W\d_]{2,24}\b")
_IP = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)"
    r"|(?<![\w.:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d)"
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b")
_PHONE_LIKE = re.compile(r"\+?\(?\d(?:[\d().\s/-]{6,20})\d")
_DIGITS = re.compile(r"\d")
_REGION = "US"  # of numbers without a country code


class Pii:
    """Replace each e-mail address, IP address, card, account and telephone number, in the turns of every side.

    The same value has the same name throughout a dialogue: `[EMAIL_1]`, `[EMAIL_2]`, `[PHONE_1]`. Telephone numbers are
    those that are valid in their country, without a country code in the United States.
    """

    name = StageName.PII.value

    def apply(self, dialogue: Dialogue) -> Dialogue:
        names = _Names()
        return dialogue.with_messages([Message(m.role, names.put_into(m.content)) for m in dialogue.messages])


class _Names:
    """The replacements of one dialogue."""

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[str, str]] = {}

    def put_into(self, text: str) -> str:
        for kind, spans, value_of in _KINDS:
            text = self._replaced(text, kind, spans(text), value_of)
        return text

    def _replaced(self, text: str, kind: str, spans: Iterator[Span], value_of: Callable[[str], str]) -> str:
        parts, end = [], 0
        for begin, stop in spans:
            parts += [text[end:begin], self._name(kind, value_of(text[begin:stop]))]
            end = stop
        return "".join([*parts, text[end:]]) if parts else text

    def _name(self, kind: str, value: str) -> str:
        names = self._by_kind.setdefault(kind, {})
        return names.setdefault(value, f"[{kind}_{len(names) + 1}]")


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


def _ips(text: str) -> Iterator[Span]:
    for match in _IP.finditer(text):
        if _is_address(match.group()):
            yield match.span()


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        if _luhn(_digits(match.group())):
            yield match.span()


def _accounts(text: str) -> Iterator[Span]:
    for match in _ACCOUNT.finditer(text):
        if _iban(match.group().replace(" ", "")):
            yield match.span()


def _phones(text: str) -> Iterator[Span]:
    if _PHONE_LIKE.search(text) is None:
        return
    for match in PhoneNumberMatcher(text, _REGION):
        yield match.start, match.end


def _is_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card number (ISO/IEC 7812)."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(number - 9 if number > 9 else number for number in doubled)
    return total % 10 == 0 and len(set(digits)) > 1


def _iban(account: str) -> bool:
    """Whether the check digits of an international account number are right (ISO 13616)."""
    return 15 <= len(account) <= 34 and int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def _digits(text: str) -> str:
    return "".join(_DIGITS.findall(text))


def _compact(text: str) -> str:
    return text.replace(" ", "").replace("-", "")


_KINDS: tuple[tuple[str, Callable[[str], Iterator[Span]], Callable[[str], str]], ...] = (
    ("EMAIL", _emails, str.lower),
    ("IP", _ips, str.lower),
    ("ACCOUNT", _accounts, _compact),
    ("CARD", _cards, _compact),
    ("PHONE", _phones, _digits),
)
