"""All deliberate breaks, by the part of the package that they break."""

from tests.mutants.catalogue import (
    alerting,
    carrying,
    column_shapes,
    copying,
    following,
    handing_over,
    histories,
    lanes,
    operating,
    quarantining,
    reading,
    serving,
    shaping,
    unseen,
    writing,
)
from tests.mutants.catalogue import proof as verifying
from tests.mutants.mutant import Mutant

MUTANTS: list[Mutant] = [
    *copying.MUTANTS, *handing_over.MUTANTS, *reading.MUTANTS, *following.MUTANTS, *writing.MUTANTS, *verifying.MUTANTS,
    *operating.MUTANTS, *lanes.MUTANTS, *alerting.MUTANTS, *serving.MUTANTS, *quarantining.MUTANTS,
    *column_shapes.MUTANTS,
    *carrying.MUTANTS,
    *shaping.MUTANTS,
    *histories.MUTANTS,
    *unseen.MUTANTS,
]
