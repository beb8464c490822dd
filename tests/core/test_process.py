"""What a process says of itself and what it lets in."""

from __future__ import annotations

import json

import pytest
from pydantic import Field

from processes.core.errors import InvalidInput
from processes.core.process import Asset, ImageRefs, Inputs, Outputs, Process, StacObject


class SlopeInputs(Inputs):
    """What a slope is computed from."""

    dsm: Asset = Field(description="Surface heights.")
    images: ImageRefs = Field(default=[], description="Acquisitions.")
    unit: str = Field(default="deg", pattern="deg|percent", description="Unit of the slope.")


class SlopeOutputs(Outputs):
    """Slope."""

    slope: Asset = Field(description="Slope of the surface.")


SLOPE = Process(
    id="slope",
    title="Slope",
    description="Steepness.",
    version="1.0.0",
    inputs=SlopeInputs,
    outputs=SlopeOutputs,
    run=lambda inputs, work: SlopeOutputs(slope=inputs.dsm),
)


def test_a_description_stands_alone_without_references():
    text = json.dumps(SLOPE.describe())
    assert "$ref" not in text
    assert "$defs" not in text


def test_a_description_says_what_is_required_and_what_may_repeat():
    inputs = SLOPE.describe()["inputs"]
    assert inputs["dsm"]["minOccurs"] == 1
    assert inputs["unit"]["minOccurs"] == 0
    assert inputs["images"]["maxOccurs"] == "unbounded"
    assert inputs["unit"]["description"] == "Unit of the slope."
    assert SLOPE.describe()["outputs"]["slope"]["title"] == "Slope"


def test_one_reference_is_a_list_of_one():
    inputs = SLOPE.parse({"dsm": {"href": "a.tif"}, "images": {"href": "left.tif"}})
    assert inputs.images == [Asset(href="left.tif")]


def test_a_qualified_value_is_unwrapped_and_a_written_out_item_is_kept():
    inputs = SLOPE.parse(
        {
            "dsm": {"href": "a.tif"},
            "unit": {"value": "percent"},
            "images": [{"value": {"type": "Feature", "id": "left"}}],
        }
    )
    assert inputs.unit == "percent"
    assert isinstance(inputs.images[0], StacObject)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "dsm"),
        ({"dsm": 3}, "dsm"),
        ({"dsm": {"href": ""}}, "dsm.href"),
        ({"dsm": {"href": "a"}, "unit": "miles"}, "unit"),
        ({"dsm": {"href": "a"}, "colour": 1}, "no input colour"),
        ({"dsm": {"href": "a"}, "images": []}, "images"),
    ],
)
def test_a_bad_input_is_named(values, named):
    with pytest.raises(InvalidInput, match=named):
        SLOPE.parse(values)


def test_an_input_that_is_missing_is_described():
    with pytest.raises(InvalidInput, match="input dsm of slope is missing: Surface heights"):
        SLOPE.parse({})


def test_a_misspelt_input_is_named_before_the_one_that_is_missing_for_it():
    with pytest.raises(InvalidInput, match="slope has no input dsn: use dsm, images, unit"):
        SLOPE.parse({"dsn": {"href": "a.tif"}})


def test_a_value_that_does_not_fit_is_quoted():
    with pytest.raises(InvalidInput, match=r'input unit of slope: .*, not "turns"'):
        SLOPE.parse({"dsm": {"href": "a"}, "unit": "turns"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dsm": "https://maps.example/a.tif"}, 'dsm of slope: give a file by reference: {"href"'),
        ({"dsm": {"href": "a"}, "images": "left.tif"}, "images of slope: give a file"),
        ({"dsm": {"href": "a"}, "images": ["left.tif"]}, "images.0 of slope: give a file"),
        ({"dsm": {"href": "a"}, "images": [{"link": "b"}]}, "images.0.href of slope: Field req"),
        ({"dsm": {"type": "image/tiff"}}, "input dsm.href of slope: Field required"),
    ],
)
def test_a_reference_that_is_none_is_shown_how_to_be_one(values, said):
    with pytest.raises(InvalidInput, match=said):
        SLOPE.parse(values)
