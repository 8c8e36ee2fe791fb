"""What all configuration shares: frozen settings and the types of their values."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

STATION_PATTERN = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+){4}$"
NAME_PATTERN = r"^[A-Za-z0-9_-]+$"

StationPath = Annotated[str, StringConstraints(pattern=STATION_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
RateHz = Annotated[float, Field(ge=0.001, le=1_000_000)]


def one_mistake(expected: str) -> WrapValidator:
    """One mistake, not one for each thing that a value could have been."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"must be {expected}") from None

    return WrapValidator(validate)


Channels = Annotated[
    Annotated[int, Field(ge=1, le=256)]
    | Annotated[tuple[str, ...], Field(min_length=1, max_length=256)]
    | None,
    one_mistake("the number of channels or the list of their names, from 1 to 256"),
]


class Settings(BaseModel):
    """What all configuration shares: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
