"""What a station's settings mean to its stages, in nanoseconds."""

from collections.abc import Mapping, Sequence

from stream.alarms import AlarmRule, Condition
from stream.aligner import AlignerSpec
from stream.conditions import Watched
from stream.config import AlarmSettings, ModalitySettings, StationSettings
from stream.lanes import AlignedModality
from stream.messages import Kind
from stream.tracks import Timing

MS = 1_000_000
# An observed condition is slower to judge than a learnt one, unless the configuration says so.
OBSERVED_ON_DELAY_NS = {
    Condition.SKEWED: 5_000 * MS,
    Condition.FROZEN: 0,
    Condition.OFFLINE: 0,
    Condition.OVERLOADED: 0,
}
FROZEN_AFTER_MS = 1_000.0
MOTION_THRESHOLD = {Kind.IMAGE: 2.0, Kind.VECTOR: 0.05}
MAX_GAP_PERIODS = 4


def aligner_spec(settings: StationSettings) -> AlignerSpec:
    """The time rules of a station, in nanoseconds."""
    images = [name for name, one in settings.modalities.items() if one.kind is Kind.IMAGE]
    anchor = settings.anchor or (images[0] if images else "")
    first = next(iter(settings.modalities.values()))
    anchor_hz = settings.modalities[anchor].rate_hz if anchor else first.rate_hz
    if not anchor and settings.window_hz:
        anchor_hz = settings.window_hz
    return AlignerSpec(
        station=settings.id,
        modalities={
            name: AlignedModality(
                kind=one.kind, timing=_timing(one, settings), channels=one.channel_count
            )
            for name, one in settings.modalities.items()
        },
        anchor=anchor,
        anchor_period_ns=round(1e9 / anchor_hz),
        max_jump_ns=round(settings.max_jump_ms * MS),
        rewind_ns=round(settings.rewind_ms * MS),
        epoch_gap_ns=round(settings.epoch_gap_ms * MS),
        budget_bytes=round(settings.budget_mib * (1 << 20)),
    )


def _timing(modality: ModalitySettings, station: StationSettings) -> Timing:
    period_ns = round(1e9 / modality.rate_hz)
    out_of_order_ms = modality.out_of_order_ms
    if out_of_order_ms is None:
        out_of_order_ms = station.out_of_order_ms
    vector = modality.kind is Kind.VECTOR
    return Timing(
        period_ns=period_ns,
        out_of_order_ns=round(out_of_order_ms * MS),
        samples=modality.samples if vector else 0,
        max_gap_ns=MAX_GAP_PERIODS * period_ns if vector else 0,
    )


def watched(
    settings: StationSettings, motion_scales: Mapping[str, Sequence[float]]
) -> dict[str, Watched]:
    """What is normal for each modality."""
    return {
        name: Watched(
            kind=one.kind,
            rate_hz=one.rate_hz,
            samples=one.samples,
            frozen_after_ns=round((one.frozen_after_ms or FROZEN_AFTER_MS) * MS),
            motion_threshold=one.motion_threshold or MOTION_THRESHOLD[one.kind],
            motion_scale=tuple(motion_scales.get(name, ())),
            dark_is_normal=one.dark_is_normal,
        )
        for name, one in settings.modalities.items()
    }


def alarm_rules(settings: Mapping[str, AlarmSettings]) -> dict[str, AlarmRule]:
    """Configured rules over the built-in ones; an on-delay left out is the condition's own."""
    built_in = {
        str(condition): AlarmRule(on_delay_ns=delay_ns)
        for condition, delay_ns in OBSERVED_ON_DELAY_NS.items()
    }
    return {**built_in, **{key: _alarm_rule(key, one) for key, one in settings.items()}}


def _alarm_rule(key: str, settings: AlarmSettings) -> AlarmRule:
    on_delay_ns = round(settings.on_delay_ms * MS)
    condition = key.rpartition("/")[2]
    if "on_delay_ms" not in settings.model_fields_set and condition in OBSERVED_ON_DELAY_NS:
        on_delay_ns = OBSERVED_ON_DELAY_NS[Condition(condition)]
    return AlarmRule(
        on_delay_ns=on_delay_ns,
        off_delay_ns=round(settings.off_delay_ms * MS),
        on_threshold=settings.on_threshold,
        off_threshold=settings.off_threshold,
        latched=settings.latched,
    )
