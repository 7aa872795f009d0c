"""Which published runs of static batches host times of engines are fitted on, and which are held out."""

from hashlib import blake2b

from gambrel.validation.runs import Run


def held_out(run: Run) -> bool:
    """Whether a run belongs to the half of the series, by model, device and plan, that nothing is fitted on."""
    assert run.plan is not None
    series = f"{run.engine}/{run.device}/{run.model}/{run.plan.tp}/{run.plan.pp}"
    return blake2b(series.encode(), digest_size=1).digest()[0] % 2 == 1
