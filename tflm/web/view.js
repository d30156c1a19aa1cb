// The square view of a picture that the model sees, and back. The same
// numbers as tflm/data/views.py computes: bilinear with antialias, half-pixel
// centres. Canvases scale otherwise, in each browser, so they only give pixels.

const BAND_PIXELS = 1 << 20; // Read at once, so that photos of any size fit.
let scratch = null; // A canvas for all pictures: Safari frees them late.

// Which pixels of an axis make up each pixel of the view, with what weights.
//   length       pixels of the axis
//   fullSize     pixels that the whole axis is squeezed to
//   size         the central ones of these are the view
// Answers, for each, {first, weights}; the weights add up to 1.
export function spans(length, fullSize, size) {
  const step = length / fullSize;
  const radius = Math.max(step, 1); // Of the triangular kernel.
  const before = Math.floor((fullSize - size) / 2);
  return Array.from({length: size}, (_, i) => {
    const centre = (before + i + 0.5) * step;
    const first = Math.max(0, Math.ceil(centre - radius - 0.5));
    const last = Math.min(length - 1, Math.floor(centre + radius - 0.5));
    const weights = [];
    for (let j = first; j <= last; j++) {
      weights.push(1 - Math.abs(j + 0.5 - centre) / radius);
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    return {first, weights: Float64Array.from(weights, (w) => w / sum)};
  });
}

// The view of a picture.
//   source         anything that a canvas draws, without transparent parts
//   width, height  of it, pixels
//   fullSize, size as of `spans`
// Answers a Float32Array [size, size, 3], RGB in [0, 1].
export function square(source, width, height, fullSize, size) {
  const columns = spans(width, fullSize, size);
  const rows = spans(height, fullSize, size);
  const view = new Float32Array(size * size * 3);
  const squeezed = new Float32Array(size * 3); // One row, in its new width.
  const bandHeight = Math.max(1, Math.floor(BAND_PIXELS / width));
  scratch ??= document.createElement('canvas');
  const sides = [width, Math.min(height, bandHeight)];
  if (scratch.width !== sides[0] || scratch.height !== sides[1]) {
    [scratch.width, scratch.height] = sides;
  }
  const context = scratch.getContext(
      '2d', {alpha: false, willReadFrequently: true});
  for (let top = 0; top < height; top += bandHeight) {
    const count = Math.min(bandHeight, height - top);
    context.fillRect(0, 0, width, count); // Black behind what is transparent.
    context.drawImage(source, 0, top, width, count, 0, 0, width, count);
    const {data} = context.getImageData(0, 0, width, count);
    for (let y = top; y < top + count; y++) {
      const takers = rows.filter(({first, weights}) =>
        y >= first && y < first + weights.length);
      if (takers.length) {
        squeeze(data, (y - top) * width, columns, squeezed);
      }
      for (const row of takers) {
        const weight = row.weights[y - row.first] / 255;
        const start = rows.indexOf(row) * squeezed.length;
        for (let k = 0; k < squeezed.length; k++) {
          view[start + k] += weight * squeezed[k];
        }
      }
    }
  }
  return view;
}

// One row of RGBA bytes, from pixel `start` on, in its new width.
function squeeze(data, start, columns, squeezed) {
  for (let i = 0; i < columns.length; i++) {
    const {first, weights} = columns[i];
    let red = 0;
    let green = 0;
    let blue = 0;
    let at = 4 * (start + first);
    for (let j = 0; j < weights.length; j++) {
      red += weights[j] * data[at++];
      green += weights[j] * data[at++];
      blue += weights[j] * data[at++];
      at++; // Opaque.
    }
    squeezed[3 * i] = red;
    squeezed[3 * i + 1] = green;
    squeezed[3 * i + 2] = blue;
  }
}

// From a fraction of the view (0: centre of its first pixel, 1: of its last)
// to pixels of the picture (0: centre of the first). One axis.
export function toPicture(fraction, length, fullSize, size) {
  const before = Math.floor((fullSize - size) / 2);
  const inFull = fraction * (size - 1) + before + 0.5;
  return inFull * length / fullSize - 0.5;
}
