"""How a plant's own topics are mapped: what they are called, and where time and values lie."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from stream.settings import Finite, Settings, one_mistake

CAPTURE = re.compile(r"\{([^{}]*)\}")


def _is_pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON pointer (RFC 6901); it begins with /")
    return text


Pointer = Annotated[str, AfterValidator(_is_pointer)]
Pointers = Annotated[
    Pointer | Annotated[tuple[Pointer, ...], Field(min_length=1, max_length=256)],
    one_mistake("a JSON pointer (RFC 6901, it begins with /) or a list of them"),
]


class JsonFields(Settings):
    """Where a plant's own JSON keeps time and values (RFC 6901 pointers).

    ``values`` is one pointer to an array (of numbers, or of rows) or one pointer a channel.
    """

    values: Pointers
    time: Pointer | None = None
    time_unit: Literal["ns", "us", "ms", "s", "rfc3339"] = "ms"
    scale: Finite = 1.0


class InputSettings(Settings):
    """One mapped topic: ``{station}``, ``{enterprise}`` … ``{cell}``, ``{modality}`` capture.

    ``station`` completes what the topic does not say and may use the captures.
    """

    topic: str
    format: Literal["weldfusion", "json", "jpeg", "png"] = "weldfusion"
    modality: Annotated[str, Field(validate_default=True)] = "{modality}"
    station: str = "{station}"
    time: Annotated[
        Literal["payload", "header", "broker", "arrival"], Field(validate_default=True)
    ] = "payload"
    json_fields: JsonFields | None = Field(default=None, alias="json", validate_default=True)

    @field_validator("topic")
    @classmethod
    def _topic_is_a_pattern(cls, topic: str) -> str:
        captures = CAPTURE.findall(topic)
        rest = CAPTURE.sub("", topic)
        if not topic or any(sign in rest for sign in "+#{}^*"):
            raise ValueError("must be a topic, with {name} instead of a wildcard")
        if wrong := [one for one in captures if not (one.isascii() and one.isidentifier())]:
            raise ValueError(f"{{{wrong[0]}}} is no name to capture")
        if twice := [one for one in captures if captures.count(one) > 1]:
            raise ValueError(f"{{{twice[0]}}} is captured twice")
        return topic

    @field_validator("modality")
    @classmethod
    def _modality_is_captured(cls, modality: str, info: ValidationInfo) -> str:
        topic = info.data.get("topic", modality)
        if lost := set(CAPTURE.findall(modality)) - set(CAPTURE.findall(topic)):
            raise ValueError(f"the topic captures no {{{min(lost)}}}; name the modality here")
        return modality

    @field_validator("time")
    @classmethod
    def _time_is_there(cls, time: str, info: ValidationInfo) -> str:
        bare = info.data.get("format") in ("jpeg", "png")
        if bare and time == "payload":
            raise ValueError("a bare image holds no time: use header, broker or arrival")
        if info.data.get("format") == "weldfusion" and time != "payload":
            raise ValueError("weldfusion's own format holds the time: use payload")
        return time

    @field_validator("json_fields")
    @classmethod
    def _json_is_mapped(cls, fields: JsonFields | None, info: ValidationInfo) -> JsonFields | None:
        is_json = info.data.get("format") == "json"
        if "format" in info.data and is_json != (fields is not None):
            raise ValueError("format json needs 'json: {values: …}', the others must not have it")
        if fields and info.data.get("time") == "payload" and fields.time is None:
            raise ValueError("time: payload needs time, a pointer to the capture time")
        return fields
