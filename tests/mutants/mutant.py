"""What a deliberate break is, and the rules (invariants of docs/how-it-works.md) that it goes against."""

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "cdc_pipelines"

NO_GAP = "1 no gap"
NO_TIME_TRAVEL = "2 no time travel"
EXACTLY_ONCE = "3 exactly once"
WHOLE = "4 whole transactions"
NOT_SILENT = "5 nothing lost silently"
KILL = "6 kill -9 anywhere"
IDEMPOTENT = "7 idempotent"
SECRETS = "8 secrets stay out"
QUOTING = "9 quoting"
PROOF = "verify is right"
RULES = (NO_GAP, NO_TIME_TRAVEL, EXACTLY_ONCE, WHOLE, NOT_SILENT, KILL, IDEMPOTENT, SECRETS, QUOTING, PROOF)


@dataclass(frozen=True)
class Mutant:
    """One break: in `file` (below cdc_pipelines/) the text `before`, which is there once, becomes `after`.

    `tests` (ids below tests/) notice it: at least one must fail. The quickest comes first.
    """

    name: str
    rule: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def broken(self, text: str) -> str:
        """The file's text with the break. Raises ValueError where `before` is not there exactly once."""
        found = text.count(self.before)
        if found != 1:
            raise ValueError(
                f"mutant {self.name}: its text stands {found} times in cdc_pipelines/{self.file}, not once: "
                f"bring tests/mutants/ up to date with the code. The text:\n{self.before}"
            )
        return text.replace(self.before, self.after)

    @property
    def ids(self) -> list[str]:
        """The tests as pytest takes them, from the project's folder."""
        return [f"tests/{test}" for test in self.tests]
