"""An animal, and how it gets well."""

from enum import IntEnum
from typing import NamedTuple


class Health(IntEnum):
    """Treatment leads from SICK to REHABILITATION to HEALTHY, a step each time."""

    HEALTHY = 0
    SICK = 1
    REHABILITATION = 2


AFTER_TREATMENT = {Health.SICK: Health.REHABILITATION, Health.REHABILITATION: Health.HEALTHY}


class Animal(NamedTuple):
    """What a zoo knows of an animal, as it was when asked.

    number : above 0, of no other animal in any zoo; it stays the animal's for life
    prepared : may be given away; only healthy, fed animals are
    journeys : from zoo to zoo so far
    """

    number: int
    name: str
    species: str
    health: Health = Health.HEALTHY
    hungry: bool = False
    prepared: bool = False
    journeys: int = 0
