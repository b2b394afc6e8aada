"""What is kept of each replicate, and so by which path replicates are fitted."""

from collections.abc import Sequence

from lmm.config.designs import DesignPoint
from lmm.config.study import StudySettings
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.model.parts import Formula

# Replicates of a design up to which all that engines estimate is kept, and fits up to which replicates are kept
MOST_FULL, MOST_KEPT = 10_000, 100_000


def recorded(settings: StudySettings, formula: Formula, designs: Sequence[DesignPoint]) -> str:
    """full, parameters or sums: see `StudySettings.record`.

    Raises
    ------
    StudyError
        What is asked for is not possible, with the setting that stands against it.
    """
    if settings.replicates is None:
        if settings.record != "auto":
            raise StudyError(
                "record", f"'{settings.record}': is for a study with `replicates`; expected both or neither"
            )
        return "full"
    if settings.record == "full":
        return "full"
    reason = only_full(settings, formula, designs)
    if settings.record != "auto":
        if reason:
            raise StudyError("record", f"'{settings.record}': {reason}; expected full or auto")
        return settings.record
    if reason or settings.replicates <= MOST_FULL:
        return "full"
    return "parameters" if settings.replicates * len(designs) <= MOST_KEPT else "sums"


def only_full(settings: StudySettings, formula: Formula, designs: Sequence[DesignPoint]) -> str:
    """Why replicates cannot take the compiled path; empty if they can."""
    able = engines.of_family(engines.ENGINES, engines.POOLED, engines.EXACT)
    for name in settings.engines.names:
        if name not in able:
            return f"the compiled path has {' and '.join(able)}, not {name}"
    if settings.calibration:
        return "calibration ranks draws"
    if settings.bootstrap == "posterior":
        return "bootstrap 'posterior' draws other parameters for each replicate"
    if formula.several:
        return "the compiled path is for one grouping factor"
    if formula.weights or formula.offsets:
        return "the compiled path has neither weights nor offsets"
    exact = settings.engines.first(engines.EXACT)
    if exact is not None:
        if "kenward-roger" in ([exact.df] if isinstance(exact.df, str) else exact.df):
            return "the compiled path has no Kenward-Roger degrees of freedom"
        if exact.intervals == "profile":
            return "the compiled path has no profile intervals"
    drawn = [how for design in designs if design.settings for how in design.settings.predictors.values()]
    if any(how.distribution == "latin_square" for how in drawn):
        return "a Latin square is of the full path"
    if any(design.settings is not None and design.settings.generator == "r" for design in designs):
        return "generator 'r' is of the full path"
    return ""
