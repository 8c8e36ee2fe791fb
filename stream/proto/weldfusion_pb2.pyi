from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LatentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENT_STATE_UNSPECIFIED: _ClassVar[LatentState]
    BYPASSED: _ClassVar[LatentState]
    CORRECTED: _ClassVar[LatentState]
    IMPUTED: _ClassVar[LatentState]
    UNAVAILABLE: _ClassVar[LatentState]
    UNCORRECTED: _ClassVar[LatentState]
    SKIPPED: _ClassVar[LatentState]

class TimeSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_SOURCE_UNSPECIFIED: _ClassVar[TimeSource]
    CAPTURE: _ClassVar[TimeSource]
    BROKER: _ClassVar[TimeSource]
    ARRIVAL: _ClassVar[TimeSource]
LATENT_STATE_UNSPECIFIED: LatentState
BYPASSED: LatentState
CORRECTED: LatentState
IMPUTED: LatentState
UNAVAILABLE: LatentState
UNCORRECTED: LatentState
SKIPPED: LatentState
TIME_SOURCE_UNSPECIFIED: TimeSource
CAPTURE: TimeSource
BROKER: TimeSource
ARRIVAL: TimeSource

class VectorBatch(_message.Message):
    __slots__ = ("modality", "names", "units", "times_ns", "values")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    TIMES_NS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    modality: str
    names: _containers.RepeatedScalarFieldContainer[str]
    units: _containers.RepeatedScalarFieldContainer[str]
    times_ns: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, modality: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., units: _Optional[_Iterable[str]] = ..., times_ns: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class ModalityLatent(_message.Message):
    __slots__ = ("modality", "state", "present", "score", "skew_ns", "largest_gap_ns", "size", "time_source")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SKEW_NS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_GAP_NS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_SOURCE_FIELD_NUMBER: _ClassVar[int]
    modality: str
    state: LatentState
    present: bool
    score: float
    skew_ns: int
    largest_gap_ns: int
    size: int
    time_source: TimeSource
    def __init__(self, modality: _Optional[str] = ..., state: _Optional[_Union[LatentState, str]] = ..., present: _Optional[bool] = ..., score: _Optional[float] = ..., skew_ns: _Optional[int] = ..., largest_gap_ns: _Optional[int] = ..., size: _Optional[int] = ..., time_source: _Optional[_Union[TimeSource, str]] = ...) -> None: ...

class FusedLatent(_message.Message):
    __slots__ = ("station", "epoch", "anchor_time_ns", "closed_by", "values", "modalities", "model_hash")
    STATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_BY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    station: str
    epoch: int
    anchor_time_ns: int
    closed_by: str
    values: _containers.RepeatedScalarFieldContainer[float]
    modalities: _containers.RepeatedCompositeFieldContainer[ModalityLatent]
    model_hash: str
    def __init__(self, station: _Optional[str] = ..., epoch: _Optional[int] = ..., anchor_time_ns: _Optional[int] = ..., closed_by: _Optional[str] = ..., values: _Optional[_Iterable[float]] = ..., modalities: _Optional[_Iterable[_Union[ModalityLatent, _Mapping]]] = ..., model_hash: _Optional[str] = ...) -> None: ...
