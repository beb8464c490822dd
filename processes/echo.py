"""Echo: everything comes back as it was sent. For clients, and for the official conformance tests.

Every input is optional, since the tests send each kind alone. `message` is first and a plain
string, `choice` stands before `box`, and `numbers` holds integers: the tests build their requests
from the types they read in the description, in this order.
"""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from processes.core.process import Inputs, Outputs, Process, Workspace

TICK_S = 0.1


class Choice(BaseModel):
    """A message with a number of times to say it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    text: str = Field(description="What to say.")
    times: int = Field(default=1, ge=1, le=100, description="How often.")


class Box(BaseModel):
    """A bounding box as OGC writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    bbox: list[float] = Field(min_length=4, max_length=6, description="Lower, then upper corner.")
    crs: str = Field(
        default="http://www.opengis.net/def/crs/OGC/1.3/CRS84", description="Of the coordinates."
    )


class Reference(BaseModel):
    """Something elsewhere."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    href: str = Field(min_length=1, description="Where it is.")
    type: str | None = Field(default=None, description="Its media type.")


TextOrChoice = Annotated[
    str | Choice,
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "required": ["text"],
                    "properties": {
                        "text": {"type": "string"},
                        "times": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1},
                    },
                },
            ]
        }
    ),
]
Picture = Annotated[
    str | Reference,
    WithJsonSchema(
        {"type": "string", "contentEncoding": "binary", "contentMediaType": "image/tiff"}
    ),
]


class EchoInputs(Inputs):
    """One input of every kind that a process may have."""

    message: str | None = Field(default=None, description="A text.")
    numbers: list[int] | None = Field(default=None, max_length=10_000, description="Integers.")
    choice: TextOrChoice | None = Field(default=None, description="A text, or an object with one.")
    box: Box | None = Field(default=None, description="A bounding box.")
    image: Picture | None = Field(default=None, description="A TIFF in base64, or its reference.")
    pause: int | None = Field(
        default=None, ge=0, le=600, description="Seconds to wait before answering."
    )


class EchoOutputs(Outputs):
    """What was sent, under the same names; what was not sent is absent."""

    message: str | None = Field(default=None, description="The text.")
    numbers: list[int] | None = Field(default=None, description="The integers.")
    choice: TextOrChoice | None = Field(default=None, description="The text or object.")
    box: Box | None = Field(default=None, description="The bounding box.")
    image: Picture | None = Field(default=None, description="The image.")


def run(inputs: EchoInputs, work: Workspace) -> EchoOutputs:
    """Wait as long as was asked for, ready to be dismissed, then return the inputs."""
    pause_s = inputs.pause or 0
    start = time.monotonic()
    while (waited_s := time.monotonic() - start) < pause_s:
        work.progress(waited_s / pause_s, f"waiting, {pause_s - waited_s:.0f} s left")
        time.sleep(min(TICK_S, pause_s - waited_s))
    return EchoOutputs(**{name: getattr(inputs, name) for name in EchoOutputs.model_fields})


ECHO = Process(
    id="echo",
    title="Echo",
    description=__doc__.split("\n")[0],
    version="1.0.0",
    inputs=EchoInputs,
    outputs=EchoOutputs,
    run=run,
    keywords=("test", "conformance"),
)
