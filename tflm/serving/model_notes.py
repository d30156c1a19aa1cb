"""What a .tflite or .onnx file says of itself, as JSON for whoever uses it.

input     Of `images`: shape, type, range and order of channels.
outputs   Names, with what they hold.
keypoints Names of the keypoints, in the order of the outputs; none without map.
licence   Of code and weights.
"""

import json

from tflm import configs
from tflm.evaluation import keypoint_maps


def to_json(
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap | None,
    batch_size: int | None,
) -> str:
    """Describes the detector of an experiment; see the module.

    Args:
        config: the experiment.
        keypoint_map: fitted to its landmarks, if there is one.
        batch_size: of views at once; None: any, and is written as "N".
    """
    batch = "N" if batch_size is None else batch_size
    size = config.model.image_size
    count = config.model.num_landmarks
    outputs = {
        "landmarks": f"[{batch}, {count}, 2], (x, y), 0 to 1 of the view",
        "confidence": f"[{batch}, {count}], 0 to 1",
    }
    names = []
    if keypoint_map is not None:
        names = list(keypoint_map.names)
        outputs["keypoints"] = (
            f"[{batch}, {len(names)}, 2], (x, y), of the view, also beyond 0"
            " and 1"
        )
        outputs["keypoint_confidence"] = f"[{batch}, {len(names)}], 0 to 1"
    return json.dumps(
        {
            "input": {
                "name": "images",
                "shape": [batch, size, size, 3],
                "type": "float32",
                "range": [0.0, 1.0],
                "channels": "RGB",
            },
            "outputs": outputs,
            "keypoints": names,
            "licence": (
                "Written by tflm, Apache License 2.0. The weights were trained"
                f" on the dataset {config.data.dataset}, whose own terms hold."
            ),
        }
    )
