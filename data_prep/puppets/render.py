"""Draws clips of articulated upper bodies, with exact joints; NumPy only.

A clip has one person (skin, hair, clothes), one textured background and one
light; the pose moves smoothly and the camera drifts over the background. Body
parts are capsules and ellipses: their signed distance gives the anti-aliased
outline, and the normal of the solid they stand for gives the shading.

Positions are (y, x) in pixels, 0 = centre of the first pixel, for an image of
128 pixels; other sizes scale.
"""

import dataclasses

import numpy as np

JOINTS = (  # The 7 joints of BBC Pose; right is the person's own right.
    "head",
    "right_wrist",
    "left_wrist",
    "right_elbow",
    "left_elbow",
    "right_shoulder",
    "left_shoulder",
)
LEFT_RIGHT_SWAPS = ((1, 2), (3, 4), (5, 6))
IMAGE_SIZE = 128

_PATTERNS = ("plain", "stripes", "bands", "checks", "dots")
_SKINS = np.array(
    [
        (0.97, 0.83, 0.73),
        (0.93, 0.74, 0.60),
        (0.82, 0.61, 0.45),
        (0.62, 0.43, 0.30),
        (0.40, 0.27, 0.20),
    ]
)
_HAIRS = np.array(
    [
        (0.10, 0.08, 0.07),
        (0.28, 0.17, 0.10),
        (0.52, 0.33, 0.17),
        (0.83, 0.68, 0.40),
        (0.60, 0.25, 0.13),
        (0.62, 0.61, 0.60),
    ]
)


@dataclasses.dataclass(frozen=True)
class Body:
    """What stays the same through a clip. Lengths in pixels of 128."""

    skin: np.ndarray  # RGB in [0, 1], as all colours.
    hair: np.ndarray
    hair_length: float  # 0: cropped; 1: to the shoulders.
    shirt: np.ndarray
    shirt_second: np.ndarray
    pattern: str
    pattern_period: float
    long_sleeves: bool
    shoulder_half_width: float
    upper_arm: float
    forearm: float
    arm_radius: float
    head_radius: float
    neck: float
    light: np.ndarray  # Unit (y, x, towards the viewer).
    right_arm_in_front: bool


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where the parts of one frame are; (y, x), pixels of 128."""

    head: np.ndarray
    head_tilt: float  # Radians.
    chest: np.ndarray  # Midpoint of the shoulders.
    hips: np.ndarray
    shoulders: np.ndarray  # [2, 2]: right, left.
    elbows: np.ndarray
    wrists: np.ndarray

    def joints(self) -> np.ndarray:
        """`[7, 2]`, in the order of JOINTS."""
        return np.stack(
            [self.head, *self.wrists, *self.elbows, *self.shoulders]
        )


def render_clip(
    seed: tuple[int, ...], num_frames: int, image_size: int = IMAGE_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one clip.

    Args:
        seed: the clip is a pure function of it.
        num_frames: at least 1.
        image_size: side, pixels.

    Returns:
        uint8 `[num_frames, image_size, image_size, 3]`, and the joints,
        float32 `[num_frames, 7, 2]`, (y, x), pixels of the image.
    """
    random = np.random.default_rng(seed)
    body = _random_body(random)
    poses = _random_poses(random, body, num_frames)
    background = _random_background(random, body.shirt)
    pan = _smooth(random.uniform(0.0, 1.0, (3, 2)), num_frames)
    pixel = IMAGE_SIZE / image_size  # In pixels of 128.
    images, joints = [], []
    for pose, offset in zip(poses, pan):
        canvas = _Canvas(_crop(background, offset, image_size), pixel)
        _draw_person(canvas, body, pose)
        images.append(canvas.to_uint8())
        joints.append((pose.joints() + 0.5) / pixel - 0.5)
    return np.stack(images), np.stack(joints).astype(np.float32)


def _random_body(random: np.random.Generator) -> Body:
    skin = _SKINS[random.integers(len(_SKINS))] * random.uniform(0.93, 1.05)
    hair = _HAIRS[random.integers(len(_HAIRS))] * random.uniform(0.85, 1.15)
    light = np.array([-0.6, random.uniform(-0.6, 0.6), 0.8])
    size = random.uniform(0.92, 1.08)
    return Body(
        skin=np.clip(skin, 0.0, 1.0),
        hair=np.clip(hair, 0.0, 1.0),
        hair_length=random.choice([0.0, 0.35, 1.0]),
        shirt=_random_colour(random),
        shirt_second=_random_colour(random),
        pattern=str(random.choice(_PATTERNS)),
        pattern_period=random.uniform(5.0, 11.0),
        long_sleeves=bool(random.random() < 0.5),
        shoulder_half_width=size * random.uniform(18.5, 21.5),
        upper_arm=size * random.uniform(23.0, 26.0),
        forearm=size * random.uniform(21.0, 24.0),
        arm_radius=size * random.uniform(4.6, 5.8),
        head_radius=size * random.uniform(10.5, 12.5),
        neck=size * random.uniform(20.0, 22.5),
        light=light / np.linalg.norm(light),
        right_arm_in_front=bool(random.random() < 0.5),
    )


def _random_colour(
    random: np.random.Generator, most_saturation: float = 0.85
) -> np.ndarray:
    """A colour of any hue; saturation and value vary."""
    hue = random.uniform(0.0, 1.0)
    saturation = random.uniform(0.1, most_saturation)
    value = random.uniform(0.25, 0.95)
    wheel = np.abs((hue * 6.0 + np.array([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0
    pure = np.clip(wheel, 0.0, 1.0)
    return value * (1.0 - saturation + saturation * pure)


def _smooth(knots: np.ndarray, num_frames: int) -> np.ndarray:
    """Eases through `knots` `[n, ...]` in equal times: `[num_frames, ...]`."""
    time = np.linspace(0.0, len(knots) - 1.0, num_frames)
    left = np.minimum(time.astype(int), len(knots) - 2)
    phase = (time - left).reshape(-1, *[1] * (knots.ndim - 1))
    ease = (1.0 - np.cos(np.pi * phase)) / 2.0
    return knots[left] * (1.0 - ease) + knots[left + 1] * ease


def _random_poses(
    random: np.random.Generator, body: Body, num_frames: int
) -> list[Pose]:
    num_knots = 4
    place = np.array([60.0, 63.5]) + random.normal(0.0, (2.0, 4.0))
    sway = _smooth(random.normal(0.0, (2.0, 3.5), (num_knots, 2)), num_frames)
    lean = _smooth(random.normal(0.0, 0.07, num_knots), num_frames)
    tilt = _smooth(random.normal(0.0, 0.16, num_knots), num_frames)
    # Wrists turn about their shoulders: 0 is down, 90 degrees outwards. They
    # keep off the shoulder itself, where the arm's direction would jump.
    turn = np.radians(random.uniform(-70.0, 200.0, (num_knots, 2)))
    reach = random.uniform(0.5, 0.97, (num_knots, 2))
    turn, reach = _smooth(turn, num_frames), _smooth(reach, num_frames)
    reach = reach * (body.upper_arm + body.forearm)
    targets = np.stack(
        [reach * np.cos(turn), reach * np.sin(turn)], axis=-1
    )  # [num_frames, 2, 2], down and outwards.
    return [
        _pose(body, place + sway[i], lean[i], tilt[i], targets[i])
        for i in range(num_frames)
    ]


def _pose(
    body: Body,
    chest: np.ndarray,
    lean: float,
    tilt: float,
    targets: np.ndarray,
) -> Pose:
    up = np.array([-np.cos(lean), np.sin(lean)])
    left = np.array([np.sin(lean), np.cos(lean)])  # The person's left.
    shoulders, elbows, wrists = [], [], []
    for side, (down, outward) in zip((-1.0, 1.0), targets):
        shoulder = chest + side * body.shoulder_half_width * left
        wrist = shoulder + np.array([down, side * outward])
        wrist = np.clip(wrist, 5.0, IMAGE_SIZE - 6.0)
        elbow, wrist = _bend(body, shoulder, wrist, side)
        shoulders.append(shoulder)
        elbows.append(elbow)
        wrists.append(wrist)
    neck = chest + 0.45 * body.neck * up
    head_up = np.array([-np.cos(lean + tilt), np.sin(lean + tilt)])
    return Pose(
        head=neck + 0.62 * body.neck * head_up,
        head_tilt=lean + tilt,
        chest=chest,
        hips=chest - 62.0 * up,
        shoulders=np.stack(shoulders),
        elbows=np.stack(elbows),
        wrists=np.stack(wrists),
    )


def _bend(
    body: Body, shoulder: np.ndarray, wrist: np.ndarray, side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Elbow and wrist of an arm that reaches for `wrist`.

    The elbow falls down and outwards. Where the wrist itself lies that way the
    arm bends towards the viewer instead, and its drawn lengths shorten.
    """
    to_wrist = wrist - shoulder
    upper, lower = body.upper_arm, body.forearm
    distance = np.clip(
        np.linalg.norm(to_wrist),
        0.4 * (upper + lower),
        0.995 * (upper + lower),
    )
    direction = to_wrist / max(np.linalg.norm(to_wrist), 1e-6)
    along = (distance**2 + upper**2 - lower**2) / (2.0 * distance)
    aside = np.sqrt(max(upper**2 - along**2, 0.0))
    across = np.array([-direction[1], direction[0]])
    down_and_out = across @ np.array([0.71, 0.71 * side])
    bend = aside * np.clip(down_and_out / 0.35, -1.0, 1.0)
    elbow = shoulder + along * direction + bend * across
    return elbow, shoulder + distance * direction


def _random_background(
    random: np.random.Generator, avoid: np.ndarray
) -> np.ndarray:
    """float32 `[160, 160, 3]`: a blurred room; not of the shirt's colour."""
    size = 160
    for _ in range(8):
        first = _random_colour(random, 0.4)
        if np.abs(first - avoid).max() > 0.3:
            break
    second = np.clip(first + random.normal(0.0, 0.15, 3), 0.05, 0.95)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle = random.uniform(0.0, 2.0 * np.pi)
    ramp = 0.5 + np.cos(angle) * (y - 0.5) + np.sin(angle) * (x - 0.5)
    image = first + np.clip(ramp, 0.0, 1.0)[..., None] * (second - first)
    for _ in range(random.integers(3, 8)):  # Furniture and lamps.
        centre, half = random.uniform(0, 1, 2), random.uniform(0.04, 0.25, 2)
        if random.random() < 0.6:
            outside = np.maximum(
                np.abs(y - centre[0]) - half[0],
                np.abs(x - centre[1]) - half[1],
            )
        else:
            outside = np.hypot(y - centre[0], x - centre[1]) - half[0]
        blur = random.uniform(0.006, 0.03)
        cover = np.clip(0.5 - outside / (2.0 * blur), 0.0, 1.0)[..., None]
        cover = cover * random.uniform(0.25, 0.8)
        image = image * (1.0 - cover) + _random_colour(random, 0.5) * cover
    strength = random.uniform(0.03, 0.12)
    for cells in (4, 9, 20, 45):  # Octaves of value noise: wall, cloth, dirt.
        noise = random.normal(0.0, 1.0, (cells + 1, cells + 1, 1))
        image = image + strength * _stretch(noise, size)
        strength *= 0.65
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def _stretch(values: np.ndarray, size: int) -> np.ndarray:
    """Bilinear `[n, n, c]` to `[size, size, c]`, corners on corners."""
    return _sample(values, np.linspace(0.0, len(values) - 1.0, size))


def _sample(
    values: np.ndarray, y: np.ndarray, x: np.ndarray | None = None
) -> np.ndarray:
    """Bilinear values `[len(y), len(x), c]` on a lattice of positions."""
    x = y if x is None else x
    top = np.minimum(y.astype(int), values.shape[0] - 2)
    left = np.minimum(x.astype(int), values.shape[1] - 2)
    dy, dx = (y - top)[:, None, None], (x - left)[None, :, None]
    rows = values[top] * (1.0 - dy) + values[top + 1] * dy
    return rows[:, left] * (1.0 - dx) + rows[:, left + 1] * dx


def _crop(
    background: np.ndarray, offset: np.ndarray, image_size: int
) -> np.ndarray:
    """A window of 128 pixels whose corner moves by `offset` x 3 pixels."""
    pixel = IMAGE_SIZE / image_size
    ticks = (np.arange(image_size) + 0.5) * pixel
    corner = 8.0 + 3.0 * offset
    return _sample(background, corner[0] + ticks, corner[1] + ticks)


class _Canvas:
    """An image that solids are painted on, in pixels of 128."""

    def __init__(self, background: np.ndarray, pixel: float):
        self._image = background.astype(np.float32)
        self._pixel = pixel
        self._ticks = ((np.arange(len(background)) + 0.5) * pixel - 0.5).astype(
            np.float32
        )

    def to_uint8(self) -> np.ndarray:
        return (np.clip(self._image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

    def window(self, low: np.ndarray, high: np.ndarray):
        """The pixels of a box: an index pair, and their (y, x) ticks."""
        slices, ticks = [], []
        for first, last in zip(low, high):
            start, stop = np.searchsorted(self._ticks, [first, last])
            slices.append(slice(start, stop))
            ticks.append(self._ticks[start:stop])
        return tuple(slices), ticks[0][:, None], ticks[1][None, :]

    def shade(self, index: tuple, distance: np.ndarray, depth: float) -> None:
        """Darkens softly where `distance` (pixels of 128) is below 3."""
        dark = depth * np.clip((3.0 - distance) / 6.0, 0.0, 1.0)
        self._image[index] *= 1.0 - dark[..., None]

    def paint(
        self, index: tuple, distance: np.ndarray, colour: np.ndarray
    ) -> None:
        """Covers with `colour` where `distance` to the outline is negative."""
        cover = np.clip(0.5 - distance / self._pixel, 0.0, 1.0)[..., None]
        patch = self._image[index]
        patch += cover * (colour - patch)


def _capsule(
    canvas: _Canvas,
    start: np.ndarray,
    end: np.ndarray,
    radii: tuple[float, float],
    colour: np.ndarray,
    light: np.ndarray,
    *,
    shadow: float = 0.0,
    pattern=None,
) -> None:
    """Paints a limb from `start` to `end` whose radius tapers."""
    margin = max(radii) + 6.0
    index, y, x = canvas.window(
        np.minimum(start, end) - margin, np.maximum(start, end) + margin
    )
    axis = end - start
    length = max(np.linalg.norm(axis), 1e-6)
    dy, dx = y - start[0], x - start[1]
    along = (dy * axis[0] + dx * axis[1]) / length
    share = np.clip(along / length, 0.0, 1.0)
    radius = radii[0] + share * (radii[1] - radii[0])
    offset_y, offset_x = dy - share * axis[0], dx - share * axis[1]
    distance = np.hypot(offset_y, offset_x) - radius
    if shadow:
        canvas.shade(index, distance, shadow)
    if pattern is not None:
        across = (dx * axis[0] - dy * axis[1]) / length
        colour = pattern(along, across)
    bright = _lambert(offset_y / radius, offset_x / radius, light)
    canvas.paint(index, distance, colour * bright)


def _ellipse(
    canvas: _Canvas,
    centre: np.ndarray,
    radii: tuple[float, float],
    tilt: float,
    colour: np.ndarray,
    light: np.ndarray,
    *,
    shadow: float = 0.0,
    keep=None,
) -> None:
    """Paints an ellipsoid; `keep(v, u)` limits it in its own unit frame."""
    margin = max(radii) + 5.0
    index, y, x = canvas.window(centre - margin, centre + margin)
    dy, dx = y - centre[0], x - centre[1]
    v = (dy * np.cos(tilt) - dx * np.sin(tilt)) / radii[0]
    u = (dy * np.sin(tilt) + dx * np.cos(tilt)) / radii[1]
    distance = (np.hypot(v, u) - 1.0) * min(radii)
    if keep is not None:
        distance = np.maximum(distance, keep(v, u) * min(radii))
    if shadow:
        canvas.shade(index, distance, shadow)
    canvas.paint(index, distance, colour * _lambert(v, u, light))


def _lambert(
    normal_y: np.ndarray, normal_x: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Brightness `[h, w, 1]` of a solid with this normal across the view."""
    normal_z = np.sqrt(np.clip(1.0 - normal_y**2 - normal_x**2, 0.0, 1.0))
    facing = normal_y * light[0] + normal_x * light[1] + normal_z * light[2]
    return (0.5 + 0.6 * np.clip(facing, 0.0, 1.0))[..., None]


def _cloth(body: Body):
    """The shirt's colour as a function of (along, across), pixels of 128."""

    def wave(position):  # 0 or 1, softened over a pixel.
        phase = position * (2.0 * np.pi / body.pattern_period)
        return np.clip(0.5 + 1.2 * np.sin(phase), 0.0, 1.0)[..., None]

    def colour(along, across):
        mix = {
            "plain": lambda: 0.0 * along[..., None],
            "stripes": lambda: wave(across),
            "bands": lambda: wave(along),
            "checks": lambda: 0.5 * (wave(across) + wave(along)),
            "dots": lambda: wave(across) * wave(along),
        }[body.pattern]()
        return body.shirt + mix * (body.shirt_second - body.shirt)

    return colour


def _draw_person(canvas: _Canvas, body: Body, pose: Pose) -> None:
    cloth, light = _cloth(body), body.light
    _draw_hair_behind(canvas, body, pose)
    _capsule(
        canvas,
        pose.chest - 0.04 * (pose.hips - pose.chest),
        pose.head,
        (4.6, 4.6),
        body.skin * 0.88,
        light,
    )
    half = body.shoulder_half_width
    _capsule(  # Shoulder line, then the trunk below it.
        canvas,
        pose.shoulders[0] + [1.5, 2.0],
        pose.shoulders[1] + [1.5, -2.0],
        (5.6, 5.6),
        body.shirt,
        light,
        pattern=lambda along, across: cloth(-across, along - half),
    )
    trunk = pose.hips - pose.chest
    _capsule(
        canvas,
        pose.chest + 0.16 * trunk,
        pose.hips,
        (0.86 * half, 0.92 * half),
        body.shirt,
        light,
        pattern=lambda along, across: cloth(along + 10.0, -across),
    )
    _draw_head(canvas, body, pose)
    sides = (1, 0) if body.right_arm_in_front else (0, 1)
    for side in sides:
        _draw_arm(canvas, body, pose, side, cloth)


def _draw_hair_behind(canvas: _Canvas, body: Body, pose: Pose) -> None:
    if not body.hair_length:
        return
    radius = body.head_radius
    down = np.array([np.cos(pose.head_tilt), -np.sin(pose.head_tilt)])
    _ellipse(
        canvas,
        pose.head + down * radius * 0.55 * body.hair_length,
        (radius * (1.1 + 0.55 * body.hair_length), radius * 1.08),
        -pose.head_tilt,
        body.hair * 0.85,
        body.light,
    )


def _draw_head(canvas: _Canvas, body: Body, pose: Pose) -> None:
    radius, light = body.head_radius, body.light
    down = np.array([np.cos(pose.head_tilt), -np.sin(pose.head_tilt)])
    aside = np.array([np.sin(pose.head_tilt), np.cos(pose.head_tilt)])
    tilt = -pose.head_tilt
    _ellipse(
        canvas,
        pose.head,
        (radius * 1.18, radius * 0.92),
        tilt,
        body.skin,
        light,
        shadow=0.35,
    )
    dark = body.hair * 0.4
    for side in (-1.0, 1.0):
        eye = pose.head + aside * side * 0.36 * radius - down * 0.05 * radius
        _ellipse(canvas, eye, (1.3, 1.7), tilt, np.full(3, 0.95), light)
        _ellipse(canvas, eye, (1.1, 0.9), tilt, dark, light)
        brow = eye - down * 2.6
        _ellipse(canvas, brow, (0.6, 2.2), tilt, dark, light)
    nose = pose.head + down * 0.25 * radius
    _ellipse(canvas, nose, (1.9, 1.1), tilt, body.skin * 0.82, light)
    mouth = pose.head + down * 0.6 * radius
    red = body.skin * np.array([0.85, 0.5, 0.5])
    _ellipse(canvas, mouth, (0.9, 2.9), tilt, red, light)
    _ellipse(  # The top of the same skull, covered with hair.
        canvas,
        pose.head - down * 0.06 * radius,
        (radius * 1.24, radius * 1.02),
        tilt,
        body.hair,
        light,
        keep=lambda v, u: v + 0.42 - 0.45 * u**2,
    )


def _draw_arm(
    canvas: _Canvas, body: Body, pose: Pose, side: int, cloth
) -> None:
    shoulder, elbow = pose.shoulders[side], pose.elbows[side]
    wrist, radius = pose.wrists[side], body.arm_radius
    hand = wrist + 5.5 * (wrist - elbow) / np.linalg.norm(wrist - elbow)
    _capsule(
        canvas,
        shoulder,
        elbow,
        (1.12 * radius, 0.92 * radius),
        body.shirt,
        body.light,
        shadow=0.3,
        pattern=cloth,
    )
    _ellipse(
        canvas,
        hand,
        (4.7, 4.3),
        0.0,
        body.skin,
        body.light,
        shadow=0.3,
    )
    _capsule(
        canvas,
        elbow,
        wrist,
        (0.92 * radius, 0.72 * radius),
        body.skin,
        body.light,
        shadow=0.3,
        pattern=cloth if body.long_sleeves else None,
    )
