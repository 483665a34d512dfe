"""Random days in three zoos against plain dictionaries: the same results, the same refusals, which change nothing."""

import hypothesis.strategies as st
from hypothesis import given, settings

from examples.zoo import Health, Step, Zoo, errors

CAPACITIES = (1, 2, 3)
HEALTHY, SICK, REHABILITATION = Health.HEALTHY, Health.SICK, Health.REHABILITATION


class Broken(Exception):
    """Injected."""


class Model:
    """By zoo and number [health, hungry, prepared, journeys] of an animal. Methods return the type of the refusal."""

    def __init__(self):
        self.zoos = [{} for _ in CAPACITIES]

    def accommodate(self, zoo, number, health, hungry):
        if len(self.zoos[zoo]) == CAPACITIES[zoo]:
            return errors.ZooFull
        self.zoos[zoo][number] = [health, hungry, False, 0]
        return None

    def change(self, operation, zoo, number):
        animal = self.zoos[zoo].get(number)
        if animal is None:
            return errors.UnknownAnimal
        health, hungry = animal[:2]
        if operation == "feed":
            animal[1] = False
        elif operation == "grow_hungry":
            animal[1:3] = True, False
        elif operation == "fall_sick":
            if health == SICK:
                return errors.AlreadySick
            animal[0], animal[2] = SICK, False
        elif operation == "treat":
            if health == HEALTHY:
                return errors.NotSick
            animal[0] = REHABILITATION if health == SICK else HEALTHY
        else:
            if health != HEALTHY or hungry:
                return errors.NotHealthy if health != HEALTHY else errors.Hungry
            animal[2] = True
        return None

    def give(self, zoo, number, to, broken):
        if zoo == to:
            return errors.SameZoo
        if broken in (Step.ASKED, Step.ONE_LOCKED, Step.LOCKED):
            return Broken
        if number not in self.zoos[zoo]:
            return errors.UnknownAnimal
        animal = self.zoos[zoo][number]
        if not animal[2]:
            return errors.NotPrepared
        if len(self.zoos[to]) == CAPACITIES[to]:
            return errors.ZooFull
        if broken not in (None, Step.DONE):
            return Broken
        del self.zoos[zoo][number]
        self.zoos[to][number] = [*animal[:2], False, animal[3] + 1]
        return None if broken is None else Broken


def refusal(call, *arguments, **options):
    """The type of what it raises."""
    try:
        call(*arguments, **options)
    except (errors.ZooError, Broken) as error:
        return type(error)
    return None


def breaking(step):
    def on_step(reached):
        if reached == step:
            raise Broken

    return on_step


ZOO, ANIMAL = st.sampled_from(range(len(CAPACITIES))), st.integers(0, 5)
ARRIVAL = st.tuples(st.just("accommodate"), ZOO, st.sampled_from(Health), st.booleans())
CHANGE = st.tuples(st.sampled_from(["feed", "grow_hungry", "fall_sick", "treat", "prepare"]), ZOO, ANIMAL)
JOURNEY = st.tuples(st.just("give"), ZOO, ANIMAL, ZOO, st.none() | st.sampled_from(Step))
# Of a prepared animal from where it is, which chance alone seldom makes.
READY = st.tuples(st.just("ready"), ZOO, ANIMAL, ZOO, st.none() | st.sampled_from(Step))


@settings(max_examples=150)
@given(st.lists(ARRIVAL | CHANGE | JOURNEY | READY, min_size=10, max_size=40))
def test_random_days_equal_the_model(days):
    zoos, model, numbers = [Zoo(f"zoo {index}", size) for index, size in enumerate(CAPACITIES)], Model(), []

    def change(operation, zoo, number):
        assert refusal(getattr(zoos[zoo], operation), number) == model.change(operation, zoo, number)

    def act(operation, zoo, *others):
        if operation == "accommodate":
            health, hungry = others
            known = {animal.number for animal in zoos[zoo].animals()}
            found = refusal(zoos[zoo].accommodate, "Luna", "lynx", health=health, hungry=hungry)
            new = [animal.number for animal in zoos[zoo].animals() if animal.number not in known]
            numbers.extend(new)
            assert found == model.accommodate(zoo, *(new or [0]), health, hungry)
            return
        number = numbers[others[0] % len(numbers)] if numbers else 10**9
        if operation == "ready":
            zoo = next((index for index, animals in enumerate(model.zoos) if number in animals), zoo)
            for each in ("feed", "treat", "treat", "prepare"):
                change(each, zoo, number)
        if operation in ("give", "ready"):
            _, to, step = others
            found = refusal(zoos[zoo].give, number, zoos[to], breaking(step))
            assert found == model.give(zoo, number, to, step)
        else:
            change(operation, zoo, number)

    for day in days:
        act(*day)
        for zoo, expected in zip(zoos, model.zoos):
            seen = {each.number: [each.health, each.hungry, each.prepared, each.journeys] for each in zoo.animals()}
            assert seen == expected
            assert len(zoo) == len(expected)
            assert not zoo.lock.locked()
