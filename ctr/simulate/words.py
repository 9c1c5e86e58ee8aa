"""The texts that events are made of, as tables of prepared bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PLACES = (
    "us New York,Chicago,Austin;in Mumbai,Delhi,Pune;br São Paulo,Recife,Belém;"
    "de Berlin,Köln,München;fr Paris,Lyon,Nîmes;gb London,Leeds,Bath;jp 東京,大阪,札幌;"
    "mx México,Mérida,León;it Roma,Milano,Forlì;es Madrid,Málaga,Sevilla;"
    "ca Toronto,Montréal,Calgary;pl Warszawa,Kraków,Łódź;nl Amsterdam,Utrecht,Delft;"
    "tr İstanbul,İzmir,Ankara;kr 서울,부산,대구;au Sydney,Perth,Darwin;se Malmö,Göteborg,Umeå;"
    "ch Zürich,Genève,Basel;at Wien,Graz,Linz;pt Lisboa,Porto,Évora"
)
# the escaped ones are there because producers do write them so
TAGS = (
    "news sport music film travel food café fashion garden cars bikes phones games books science "
    "health money work homes family pets art history nature weather politics law school code "
    "photo fitness running yoga chess opera jazz a\\u00f1o fußball 旅行 \\u00e9t\\u00e9"
)
CATEGORIES = (
    "travel fashion electronics groceries cars insurance banking games films music books sports "
    "furniture beauty telecom education"
)
DEVICES = "phone desktop tablet"
BROWSERS = "chrome safari firefox edge samsung opera"
PLACEMENTS = "top side feed footer"


class Choices:
    """Texts of which each event takes one: ``pool[starts[i]:starts[i] + lengths[i]]``."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = [text.encode("utf-8") for text in texts]
        self.pool = np.frombuffer(b"".join(encoded), np.uint8)
        self.lengths = np.array([len(text) for text in encoded], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths


def quoted(names: str | Sequence[str], before: str = "") -> list[str]:
    """JSON strings of words.

    >>> quoted("top side")
    ['"top"', '"side"']
    """
    return [f'{before}"{name}"' for name in (names.split() if isinstance(names, str) else names)]


def places() -> tuple[list[str], list[str]]:
    """The countries, and ``geo`` objects of the cities, those of one country after the other's."""
    countries, objects = [], []
    for place in PLACES.split(";"):
        country, cities = place.split(" ", 1)
        countries.append(country)
        for city in cities.split(","):
            objects.append(f'{{"country":"{country}","city":"{city}"}}')
    return countries, objects
