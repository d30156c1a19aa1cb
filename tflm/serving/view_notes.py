"""What the caller of an exported model must know about its input, as JSON.

image_size      Side of the square view that the networks see, pixels.
crop_fraction   The view is the central part of the whole image, squeezed to a
                square of image_size / crop_fraction; see `data.views.square`.
num_landmarks   In the answer.
frame_crop      Of which part of an image or video the whole image is: a flag of
                data_prep or tflm.predict, or words; "" if it is not cropped.
"""

import json

from tflm import configs


def to_json(config: configs.Config) -> str:
    """Writes the notes of an experiment's detector."""
    return json.dumps(
        {
            "image_size": config.model.image_size,
            "crop_fraction": config.data.crop_fraction,
            "num_landmarks": config.model.num_landmarks,
            "frame_crop": config.data.frame_crop,
        }
    )


def from_json(text: str) -> configs.Config:
    """Inverts `to_json`.

    Returns:
        A config of which only the settings in the notes mean anything.

    Raises:
        ValueError: if the notes are damaged.
    """
    try:
        notes = json.loads(text)
        return configs.Config(
            data=configs.DataConfig(
                crop_fraction=notes["crop_fraction"],
                # Exports of earlier versions do not say.
                frame_crop=notes.get("frame_crop", ""),
            ),
            model=configs.ModelConfig(
                image_size=notes["image_size"],
                num_landmarks=notes["num_landmarks"],
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the notes of a detector: {text[:80]}") from error
