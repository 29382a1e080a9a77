"""An experiment in a YAML file: what is run, how it is measured, and which numbers are expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from pt_cascade.analysis.certificates.fixed_sequence import Test
from pt_cascade.analysis.choice.candidates import Method
from pt_cascade.analysis.replay.measures import parse_measures
from pt_cascade.analysis.table.from_runs import Missing
from pt_cascade.errors import SweepError, did_you_mean
from pt_cascade.experiments.cascade_file import Amount, Count, Options, StageText, Weights, find_weight_problems, name_stage
from pt_cascade.experiments.documents import Place, Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Numbers: TypeAlias = dict[str, dict[str, dict[str, float | str]]]  # by part, row and column
PARTS = {
    "systems": "the measures of each system at each of its cut-offs, with the recall of the first stage and its ceiling",
    "differences": "the first measure less that of the baseline, with a 95 % interval over queries",
    "choices": "what is chosen, and its gain over the deepest cut-offs, held out",
    "pruning": "documents, measures and losses of each row of margins, and of the certified row",
}
_OF_SCRIPTS = {"title", "note", "needs", "slow", "script", "tolerance", "expected"}


def _list(value: object) -> object:
    """Take one value for a list of it."""
    return value if isinstance(value, list) else [value]


def _check_measure(name: str) -> str:
    try:
        return str(parse_measures([name])[0])
    except SweepError as error:
        raise ValueError(*error.problems) from None


Axis = BeforeValidator(_list)
Some = Field(min_length=1, strict=False)
MeasureName = Annotated[str, AfterValidator(_check_measure)]
Share = Annotated[float, Field(gt=0, lt=1)]


class StageAxis(Strict):
    """Alternatives of one stage, and its cut-offs; a list is an axis, of which every combination is a system.

    Attributes:
        stage: As in a cascade's file; None: the systems without this stage.
        cutoff: One or several; None: no cut.
    """

    stage: Annotated[tuple[StageText | None, ...], Axis, Some]
    cutoff: Annotated[tuple[Count | None, ...], Axis, Some] = (None,)


class CostEntry(Strict):
    """The cost of a stage, by hand; see ``StageCost``."""

    fixed_ms: Amount = 0.0
    per_pair_ms: Amount = 0.0
    usd_per_pair: Amount = 0.0


class Profile(Strict):
    """Stages are timed on this machine; see ``profile``."""

    queries: Count = 100
    repeats: Count = 1


class Choice(Strict):
    """How cut-offs are chosen; see ``choose``. A list of budgets is an axis."""

    measure: MeasureName | None = None
    method: Method | None = None
    budget_ms: Annotated[tuple[Amount | None, ...], Axis, Some] = (None,)
    percentile: Amount | None = 95.0
    margin: Share = 0.02
    alpha: Share = 0.05
    folds: Count = 5
    test: Test = "dirichlet"


class Pruning(Strict):
    """Margins of some stages, a path from the loosest to the tightest, and the loss that is certified; see ``sweep_rules``."""

    margins: dict[str, Annotated[tuple[Amount, ...], Some]] = Field(min_length=1)
    relative: bool = True
    floor: Count = 10
    alpha: Share = 0.05
    delta: Share | None = 0.1


class Batch(Strict):
    """Live runs of the deepest systems over all queries, into folders that may be resumed; see ``run_batch``."""

    executor: Literal["serial", "processes"] = "serial"
    workers: Count = 1
    threads: Count = 1
    shard_queries: Count = 100


class ExperimentFile(Strict):
    """An experiment.

    Attributes:
        title: What it shows, in a line.
        note: What is real, and what is random or made up.
        needs: What not every machine has: a model hub, a GPU.
        slow: Whether it takes more than seconds.
        script: A Python file that prints the numbers as Markdown tables, and its arguments; only with what describes and verifies.
        collection: As in a cascade's file; None with ``runs``.
        runs: Files of published runs in place of rankers, by stage, the first stage's first.
        qrels: The judgments of the runs.
        missing: See ``ScoreTable.from_runs``.
        queries: How many judged queries, the first ones; None: all.
        stages: The first stage first; lists are axes.
        prefixes: Whether the first stages of each system are systems too.
        fusion: One or several, each the weight of each stage, or None; systems that lack a stage of it are without it.
        engine: As in a cascade's file.
        options: As in a cascade's file.
        measures: Names of ir_measures; the first one chooses.
        baseline: The system that the others are compared with, e.g. ``bm25 % 1000``.
        grid: The cut-offs that ``choose`` sees: those that are listed, or up to them ``log`` or ``full``, see ``sweep``.
        cost: Of each stage, by hand.
        profile: Time the stages.
        choose: By a name, how to choose; of the systems with the most stages, as is pruning.
        prune: Rules.
        batch: Run the systems with the most stages live, too; see ``run_batch``.
        seed: Of ``choose``.
        tolerance: By column, how far a number may be from the expected one.
        expected: By part, row and column; see ``PARTS``, of a script ``read_tables``.
    """

    title: str
    note: str = ""
    needs: Annotated[tuple[Literal["hub", "gpu"], ...], Axis, Field(strict=False)] = ()
    slow: bool = False
    script: Annotated[tuple[str, ...], Axis, Field(strict=False)] = ()
    collection: str | None = None
    runs: dict[str, str] | None = None
    qrels: str | None = None
    missing: Missing = "refuse"
    queries: Count | None = None
    stages: Annotated[tuple[StageAxis, ...], Field(strict=False)] = ()
    prefixes: bool = False
    fusion: Annotated[tuple[Weights | None, ...], Axis, Some] = (None,)
    engine: Literal["pisa", "terrier"] | None = None
    options: Options = Options()
    measures: Annotated[tuple[MeasureName, ...], Axis, Field(strict=False)] = ()
    baseline: str | None = None
    grid: Literal["listed", "log", "full"] = "listed"
    cost: dict[str, CostEntry] | None = None
    profile: Profile | None = None
    choose: dict[str, Choice] = Field(default_factory=dict)
    prune: Pruning | None = None
    batch: Batch | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    tolerance: dict[str, Amount] = Field(default_factory=dict)
    expected: Numbers = Field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all alternatives of all stages."""
        return [name_stage(one) for axis in self.stages for one in axis.stage if one is not None]

    def find_problems(self) -> Iterator[tuple[Place, str]]:
        """Yield what does not fit together."""
        if self.script:
            for name in sorted(self.model_fields_set - _OF_SCRIPTS):
                yield (name,), f"{name} has no effect on a script; give it as an argument: script: [FILE, ARGUMENT]"
        else:
            yield from (((name,), f"{name} is missing") for name in ("stages", "measures") if not getattr(self, name))
            yield from self._find_source_problems()
            yield from self._find_stage_problems()
        yield from self._find_expected_problems()

    def _find_source_problems(self) -> Iterator[tuple[Place, str]]:
        if (self.collection is None) == (self.runs is None):
            yield ("collection",), "expected either a collection or runs"
        if (self.qrels is None) != (self.runs is None):
            yield ("qrels",), "expected qrels with runs, and only with them"
        if self.runs is not None and self.profile is not None:
            yield ("profile",), "runs cannot be timed; give a cost by hand in place of profile"
        if self.runs is not None and self.batch is not None:
            yield ("batch",), "published runs are not run again; leave batch out"
        if self.cost is not None and self.profile is not None:
            yield ("profile",), "expected either a cost by hand or profile"

    def _find_stage_problems(self) -> Iterator[tuple[Place, str]]:
        if self.stages and None in self.stages[0].stage:
            yield ("stages", 0), "the first stage cannot be left out"
        given: list[tuple[Place, Iterable[str]]] = [(("cost",), self.cost or ()), (("runs",), self.runs or ())]
        given.append((("prune", "margins"), self.prune.margins if self.prune else ()))
        for place, stages in given:
            for one in set(stages) - {*self.names}:
                yield (*place, one), f"{'.'.join(map(str, place))}.{one} is no stage{did_you_mean(one, self.names)}"
        for name in self.names if self.runs is not None else ():
            if name not in (self.runs or ()):
                yield ("runs",), f"stage {name!r} has no run"
        if self.prune and len({len(path) for path in self.prune.margins.values()}) > 1:
            yield ("prune", "margins"), "prune.margins: expected as many margins for each stage"
        for weights in self.fusion:
            yield from find_weight_problems(weights, self.names)

    def _find_expected_problems(self) -> Iterator[tuple[Place, str]]:
        for part, rows in self.expected.items():
            if part not in PARTS and not self.script:
                yield ("expected", part), f"expected.{part} is no part{did_you_mean(part, PARTS)} (parts are {', '.join(PARTS)})"
            for row, columns in rows.items():
                for name in [name for name, value in columns.items() if not isinstance(value, str) and name not in self.tolerance]:
                    yield ("expected", part, row, name), f"{name} has no tolerance; add tolerance: {{{name}: 0.001}}"
