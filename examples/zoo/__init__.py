"""A zoo: animals are accommodated, fed, treated, prepared and given to another zoo, and none is lost on the way."""

from examples.zoo import errors
from examples.zoo.animal import Animal, Health
from examples.zoo.transfer import Step
from examples.zoo.zoo import Zoo, census

__all__ = ["Animal", "Health", "Step", "Zoo", "census", "errors"]
