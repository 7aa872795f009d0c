"""A fleet of several kinds of devices for a mix of requests: how many instances of each, as an integer program.

For each machine g, size of an instance and class of requests c, the plan search gives the highest rate R_gc at which an
instance serves only such requests within their limits. With N_g instances and x_gc requests/s of a class on them:

    minimise   sum_g rent_g N_g
    subject to sum_g x_gc = rate_c              every request is served
               sum_c x_gc / R_gc <= N_g         an instance works at most all the time
               x >= 0, N integer, N_g devices_g <= available

so that an instance shares its time among classes in proportion to what each takes of it.

Does not count: batches of several classes at once, bursts beyond the mean rates, failures.

Source: T. Griggs et al., "Melange: Cost Efficient Large Language Model Serving by Exploiting GPU Heterogeneity", 2024,
section 5 (the integer program; slices of a class may be as small as they like here); B. Li et al., "KAIROS: Building
Cost-Efficient Machine Learning Inference Systems with Heterogeneous Cloud Resources", HPDC 2023. Solved by HiGHS.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from gambrel import __version__
from gambrel.errors import PlanError, Problem, UsageError
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.points import Workload
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.search.plan import NOBODY, search
from gambrel.search.progress import Tally, Watch
from gambrel.search.result import PlanChoice
from gambrel.search.scan import Batching
from gambrel.search.space import Space
from gambrel.search.targets import Limits

SIZES = (1, 2, 4, 8, 16)
"""Devices of an instance that are tried."""

GAP = 1e-6
"""Relative gap between the fleet and the bound on the best one at which the solver stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """Requests of one kind.

    Attributes:
        name: For people.
        isl, osl: Prompt and output tokens.
        requests_per_s: Mean rate.
        limits: What each request has to see.
    """

    name: str
    isl: int
    osl: int
    requests_per_s: float
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the rate; lengths are checked as those of a workload."""
        if not (np.isfinite(self.requests_per_s) and self.requests_per_s > 0.0):
            what = f"{self.requests_per_s:g} requests/s is no rate"
            raise PlanError(Problem(where=self.name, what=what, fix="Give a positive number"))
        Workload(isl=self.isl, osl=self.osl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A kind of instance in a fleet.

    Attributes:
        machine: Name of the hardware profile.
        devices: Of one instance.
        count: Instances.
        usd_per_h: Rent of all of them.
        busy: Share of their time that is used.
        requests_per_s: By class, what they serve together.
        plans: By class, the plan that serves it fastest.
    """

    machine: str
    devices: int
    count: int
    usd_per_h: float
    busy: float
    requests_per_s: Mapping[str, float]
    plans: Mapping[str, PlanChoice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The cheapest fleet.

    Attributes:
        model: Its name.
        instances: What to rent; empty where no fleet serves the mix.
        usd_per_h: Rent of the whole fleet.
        bound_usd_per_h: No fleet of these instances is cheaper.
        unserved: Classes that no instance serves within their limits.
        single: By machine, the cheapest rent with that machine alone; machines that cannot serve the mix are missing.
        version: Of this project.
    """

    model: str
    instances: Sequence[Instance]
    usd_per_h: float
    bound_usd_per_h: float
    unserved: Sequence[str]
    single: Mapping[str, float]
    version: str

    @property
    def feasible(self) -> bool:
        """Whether there is one."""
        return bool(self.instances)

    def to_dict(self) -> dict[str, object]:
        """Plain values; units are in the names."""
        instances = [
            {**asdict(each), "plans": {name: choice.to_dict() for name, choice in each.plans.items()}}
            for each in self.instances
        ]
        return {**asdict(self), "instances": instances, "feasible": self.feasible}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Instances that may be rented, and how fast each serves each class."""

    device: Device
    devices: int
    rates: Mapping[str, float]
    plans: Mapping[str, PlanChoice]

    @property
    def usd_per_h(self) -> float:
        """Rent of one."""
        return float(np.asarray(self.device.price_usd_per_h)) * self.devices


def plan_fleet(  # noqa: PLR0913  (an entry point: all but the first two are by keyword and optional)
    model: Model,
    on: Machine | Sequence[Machine],
    *,
    mix: Sequence[RequestClass],
    sizes: Sequence[int] = SIZES,
    available: Mapping[str, int] | None = None,
    batching: Batching = "continuous",
    space: Space | None = None,
    overrides: Sequence[str] = (),
    watch: Watch = NOBODY,
) -> Fleet:
    """The cheapest fleet that serves a mix of requests.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profiles or devices to choose from; each needs a rent.
        mix: The classes of requests.
        sizes: Devices of an instance.
        available: Most devices of each machine; unlimited where it is not named.
        batching: How an instance batches.
        space: Choices of the plans of instances.
        overrides: What-ifs on the profiles.
        watch: Who is told how far it is, in searches.

    Raises:
        GambrelError: The model, a profile or a limit is wrong, a machine has no rent, classes share a name, or HiGHS is
            not installed.
    """
    highs = _solver()
    architecture = load(model)
    machines = [machine(name, tuple(overrides)) for name in ((on,) if isinstance(on, Machine) else on)]
    _check(machines, mix, sizes)
    instances = [(device, size) for device in machines for size in _sizes(device, sizes)]
    tally = Tally(watch, len(instances) * len(mix), "searches")
    kinds = list(_kinds(architecture, instances, mix, batching, space or Space(), tally))
    unserved = [each.name for each in mix if not any(each.name in kind.rates for kind in kinds)]
    if unserved:
        return _none(architecture, unserved)
    limits = dict(available or {})
    counts, load_s, rent, bound = _solve(highs, kinds, mix, limits)
    single: dict[str, float] = {}
    for device in machines:
        own = [kind for kind in kinds if kind.device.name == device.name]
        if all(any(each.name in kind.rates for kind in own) for each in mix):
            alone = _solve(highs, own, mix, limits)
            single |= {device.name: alone[2]} if alone[0].any() else {}
    if not counts.any():
        return _none(architecture, ())
    return Fleet(
        model=architecture.name,
        instances=[
            _instance(kind, int(count), load_s[number], mix)
            for number, (kind, count) in enumerate(zip(kinds, counts, strict=True))
            if count > 0
        ],
        usd_per_h=rent,
        bound_usd_per_h=bound,
        unserved=(),
        single=single,
        version=__version__,
    )


def _solver() -> Any:
    try:
        return import_module("highspy")
    except ImportError:
        what, fix = "HiGHS is not installed", "pip install 'gambrel[fleet]'"
        raise UsageError(Problem(where="fleet", what=what, why="it solves the integer program", fix=fix)) from None


def _check(machines: Sequence[Device], mix: Sequence[RequestClass], sizes: Sequence[int]) -> None:
    problems: list[Problem] = []
    for device in machines:
        if device.price_usd_per_h is None:
            fix = "Give one: --set price.rent=2USD/h"
            problems.append(Problem(where=device.name, what="the profile has no price", fix=fix))
    names = [each.name for each in mix]
    problems += [
        Problem(where="mix", what=f"two classes are named '{name}'", fix="Give each its own name")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if not mix:
        problems.append(Problem(where="mix", what="no requests", fix="Name at least one class"))
    if not sizes or min(sizes) < 1:
        problems.append(Problem(where="sizes", what=f"{list(sizes)} are no numbers of devices", fix="Give 1 or more"))
    if problems:
        raise PlanError(*problems)


def _kinds(
    architecture: Architecture,
    instances: Sequence[tuple[Device, int]],
    mix: Sequence[RequestClass],
    batching: Batching,
    space: Space,
    tally: Tally,
) -> Iterator[_Kind]:
    for device, size in instances:
        plans: dict[str, PlanChoice] = {}
        for each in mix:
            choice = _fastest(architecture, device, size, each, batching, space)
            if choice is not None:
                plans[each.name] = choice
            tally.add()
        if plans:
            rates = {
                each.name: plans[each.name].metrics["tokens_per_s"] / each.osl for each in mix if each.name in plans
            }
            yield _Kind(device=device, devices=size, rates=rates, plans=plans)


def _sizes(device: Device, sizes: Sequence[int]) -> list[int]:
    """Those of the sizes that the links of a device join."""
    most = max((link.size for link in device.links), default=1)
    return sorted(size for size in set(sizes) if size <= most)


def _fastest(
    architecture: Architecture, device: Device, size: int, each: RequestClass, batching: Batching, space: Space
) -> PlanChoice | None:
    """The plan of an instance that serves most requests of a class within its limits; None where none does."""
    work = Workload(isl=each.isl, osl=each.osl)
    try:
        found = search(
            architecture,
            device,
            devices=size,
            workload=work,
            limits=each.limits,
            objective="tokens_per_s",
            batching=batching,
            space=space,
            top=1,
        )
    except PlanError:
        return None
    return found.best[0] if found.best else None


Solution = tuple[np.typing.NDArray[np.int64], list[dict[str, float]], float, float]


def _solve(highs: Any, kinds: Sequence[_Kind], mix: Sequence[RequestClass], available: Mapping[str, int]) -> Solution:
    """Instances of each kind, requests/s of each by class, the rent, and the bound; zeros where there is no fleet."""
    h = highs.Highs()
    h.silent()
    h.setOptionValue("mip_rel_gap", GAP)
    h.setOptionValue("random_seed", 0)
    h.setOptionValue("threads", 1)
    counts = [h.addIntegral(lb=0, obj=kind.usd_per_h) for kind in kinds]
    loads = [{each.name: h.addVariable(lb=0.0) for each in mix if each.name in kind.rates} for kind in kinds]
    for each in mix:
        served = [load_[each.name] for load_ in loads if each.name in load_]
        h.addConstr(sum(served[1:], served[0]) == each.requests_per_s)
    for kind, count, load_ in zip(kinds, counts, loads, strict=True):
        used = [share * (1.0 / kind.rates[name]) for name, share in load_.items()]
        h.addConstr(sum(used[1:], used[0]) <= count)
    for name, most in available.items():
        own = [count * kind.devices for kind, count in zip(kinds, counts, strict=True) if kind.device.name == name]
        if own:
            h.addConstr(sum(own[1:], own[0]) <= most)
    h.minimize()
    if h.getModelStatus() != highs.HighsModelStatus.kOptimal:
        return np.zeros(len(kinds), dtype=np.int64), [], 0.0, 0.0
    found = np.rint([h.variableValue(count) for count in counts]).astype(np.int64)
    shares = [{name: max(float(h.variableValue(share)), 0.0) for name, share in load_.items()} for load_ in loads]
    rent = float(sum(kind.usd_per_h * count for kind, count in zip(kinds, found.tolist(), strict=True)))
    return found, shares, rent, min(float(h.getInfo().mip_dual_bound), rent)


def _instance(kind: _Kind, count: int, shares: Mapping[str, float], mix: Sequence[RequestClass]) -> Instance:
    served = {each.name: shares[each.name] for each in mix if shares.get(each.name, 0.0) > GAP * each.requests_per_s}
    return Instance(
        machine=kind.device.name,
        devices=kind.devices,
        count=count,
        usd_per_h=kind.usd_per_h * count,
        busy=sum(rate / kind.rates[name] for name, rate in served.items()) / count,
        requests_per_s=served,
        plans={name: kind.plans[name] for name in served},
    )


def _none(architecture: Architecture, unserved: Sequence[str]) -> Fleet:
    return Fleet(
        model=architecture.name,
        instances=(),
        usd_per_h=0.0,
        bound_usd_per_h=0.0,
        unserved=tuple(unserved),
        single={},
        version=__version__,
    )
