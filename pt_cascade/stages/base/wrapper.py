"""What a stage around another one says of itself as the other does."""

from __future__ import annotations

import pyterrier as pt

from pt_cascade.cascade.known import look_up


class Wrapper(pt.Transformer):  # type: ignore[misc]
    """A transformer around a stage, with the stage's name, accounts and policy for failures.

    Attributes:
        stage: The stage.
    """

    stage: pt.Transformer

    @property
    def stage_name(self) -> str:
        """The name of the stage in a cascade."""
        return look_up(self.stage).name

    @property
    def failed_column(self) -> str:
        """The column in which the stage marks failed rows; empty: none."""
        return str(getattr(self.stage, "failed_column", ""))

    @property
    def on_error(self) -> str:
        """What the stage does with a row that it cannot score; empty: unknown."""
        return str(getattr(self.stage, "on_error", ""))

    @property
    def accounts(self) -> tuple[str, ...]:
        """The columns in which the stage counts what each query used."""
        return tuple(getattr(self.stage, "accounts", ()))
