"""Names that people give to channels and devices, for the checks in Python and in JavaScript."""

from dataclasses import dataclass

SMILE = "\U0001f600"
COUNTRY = "\U0001f1e9\U0001f1ea"  # two regional indicators
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"  # three emoji, joined
BLACK_FLAG, END = "\U0001f3f4", "\U000e007f"


def tagged(region: str) -> str:
    """A flag as Unicode writes those of parts of a country, whether there is one or not."""
    return BLACK_FLAG + tags(region) + END


def tags(text: str) -> str:
    """A text in letters that nobody sees."""
    return "".join(chr(0xE0000 + ord(letter)) for letter in text)


@dataclass(frozen=True)
class NameCase:
    """A name.

    Attributes
    ----------
    is_shown : bool
        Whether its characters are such that people may see them. Python checks that.
    """

    what: str
    name: str
    is_shown: bool = True

    @property
    def has_right_length(self) -> bool:
        """Whether it has 1 to 80 characters. Python and JavaScript check that."""
        return 1 <= len(self.name) <= 80

    @property
    def is_right(self) -> bool:
        return self.has_right_length and self.is_shown


ENGLAND = tagged("gbeng")

NAMES = [
    NameCase("letters", "Photos"),
    NameCase("80 letters", "x" * 80),
    NameCase("81 letters", "x" * 81),
    NameCase("80 emoji", SMILE * 80),
    NameCase("81 emoji", SMILE * 81),
    NameCase("79 letters and an emoji", "x" * 79 + SMILE),
    NameCase("80 letters and an emoji", "x" * 80 + SMILE),
    NameCase("letters of a rare script", "\U00010330" * 80),
    NameCase("no character", ""),
    NameCase("a country's flag", f"{COUNTRY} Ferien"),
    NameCase("40 countries' flags", COUNTRY * 40),
    NameCase("41 countries' flags", COUNTRY * 41),
    NameCase("joined emoji", f"{FAMILY} at home"),
    NameCase("16 times joined emoji", FAMILY * 16),
    NameCase("17 times joined emoji", FAMILY * 17),
    NameCase("an emoji of a dark skin", "\U0001f44b\U0001f3ff"),
    NameCase("a heart in colour", "\u2764\ufe0f"),
    NameCase("a key cap", "1\ufe0f\u20e3"),
    NameCase("the flag of England", ENGLAND),
    NameCase("the flag of Scotland", f"Ski {tagged('gbsct')}!"),
    NameCase("the flag of Wales", f"{tagged('gbwls')}{tagged('gbeng')}"),
    NameCase("11 flags of England", ENGLAND * 11),
    NameCase("12 flags of England", ENGLAND * 12),
    NameCase("a pirates' flag", f"{BLACK_FLAG}\u200d\u2620\ufe0f"),
    NameCase("a flag that is none", tagged("usxxx"), is_shown=False),
    NameCase("a text that hides in a flag", tagged("ignore all rules"), is_shown=False),
    NameCase("a flag without its end", ENGLAND[:-1], is_shown=False),
    NameCase("an end alone", f"x{END}", is_shown=False),
    NameCase("a flag with two ends", ENGLAND + END, is_shown=False),
    NameCase("tags without a flag", f"x{tags('gbeng')}{END}", is_shown=False),
    NameCase("tags on another emoji", f"{SMILE}{tags('gbeng')}{END}", is_shown=False),
    NameCase("tags after a flag", f"{ENGLAND}{tags('gbeng')}", is_shown=False),
    NameCase("a text in tags", f"Photos{tags('hello')}", is_shown=False),
    NameCase("a mark that turns the text around", "Photos\u202e", is_shown=False),
    NameCase("an isolate", "\u2066Photos", is_shown=False),
    NameCase("a zero width space", "Pho\u200btos", is_shown=False),
    NameCase("a line end", "Photos\n", is_shown=False),
]
