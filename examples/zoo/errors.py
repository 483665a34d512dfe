"""What a zoo refuses. Whatever was refused has changed nothing."""


class ZooError(Exception):
    """Of a zoo; the others are kinds of it."""


class UnknownAnimal(ZooError, LookupError):
    """No animal of this number lives in the zoo."""


class ZooFull(ZooError):
    """All places are taken."""


class SameZoo(ZooError, ValueError):
    """Giver and receiver are one zoo."""


class NotPrepared(ZooError):
    """Only an animal that was prepared can be given away."""


class Hungry(ZooError):
    """A hungry animal is fed before it is prepared."""


class NotHealthy(ZooError):
    """A sick or recovering animal is treated before it is prepared."""


class NotSick(ZooError):
    """A healthy animal cannot be treated."""


class AlreadySick(ZooError):
    """A sick animal cannot fall sick."""
