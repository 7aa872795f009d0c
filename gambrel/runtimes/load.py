"""Engine profiles by name or path."""

from collections.abc import Iterable
from pathlib import Path

from gambrel.errors import Problem, ProfileError, did_you_mean
from gambrel.hardware.read import read_record
from gambrel.hardware.resolve import resolve
from gambrel.runtimes.profile import IDEAL, STEP_TOKENS, EngineOverheads, EngineProfile

SHIPPED = Path(__file__).parent / "profiles"


def list_engines() -> tuple[str, ...]:
    """Names of the shipped engine profiles, sorted, with `ideal` first."""
    return (IDEAL.name, *sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_engine_profile(name_or_path: str | Path, overrides: Iterable[str] = ()) -> EngineProfile:
    """Reads an engine profile with its provenance.

    Args:
        name_or_path: A shipped name (`vllm`), or the path of a YAML file.
        overrides: `PATH=VALUE` texts, such as `step_overhead=2 ms`.

    Raises:
        ProfileError: The name is unknown, or the file or an override is wrong; all problems at once.
    """
    resolved = resolve(_find(name_or_path), overrides)
    profile, problems = read_record(EngineProfile, resolved)
    for name in ("kernel_launch", "prefill_overhead", "step_overhead", "sequence_overhead", "runtime_memory"):
        quantity = getattr(profile, name)
        if quantity.value < 0:
            problems.append(Problem(where=f"{resolved.file}: {name}", what=f"{quantity.text} is negative"))
    if profile.batching is not None and profile.batching.step_tokens.value < 1:
        text = profile.batching.step_tokens.text
        problems.append(Problem(where=f"{resolved.file}: batching.step_tokens", what=f"{text} is less than one token"))
    if problems:
        raise ProfileError(*problems)
    return profile


def load_engine(name_or_path: str | Path, overrides: Iterable[str] = ()) -> EngineOverheads:
    """The numbers of an engine profile; `ideal` is the engine that adds nothing.

    Raises:
        ProfileError: As `load_engine_profile`.
    """
    if str(name_or_path) == IDEAL.name:
        return IDEAL
    profile = load_engine_profile(name_or_path, overrides)
    launch = profile.kernel_launch.value
    batching = profile.batching
    return EngineOverheads(
        name=profile.id,
        title=profile.title,
        prefill_launch_s=launch if profile.launch.prefill == "eager" else 0.0,
        decode_launch_s=launch if profile.launch.decode == "eager" else 0.0,
        prefill_overhead_s=profile.prefill_overhead.value,
        step_overhead_s=profile.step_overhead.value,
        sequence_overhead_s=profile.sequence_overhead.value,
        runtime_bytes=profile.runtime_memory.value,
        mixes_prefill=batching is None or batching.prefill == "mixed",
        step_tokens=STEP_TOKENS if batching is None else batching.step_tokens.value,
        libraries=profile.libraries,
        quantize_apart=profile.quantize_apart,
        norms_quantize=profile.norms_quantize,
    )


def _find(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name_or_path)
    path = SHIPPED / f"{name}.yaml"
    if name and path.is_file():
        return path
    raise ProfileError(
        Problem(
            where=name or "''",
            what="unknown engine",
            why="it is neither a shipped engine profile nor a path to a YAML file",
            fix=did_you_mean(name.lower(), list_engines()),
        )
    )
