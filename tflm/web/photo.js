// Decodes an image file as tflm/media/images.py does: upright by its EXIF data.
// Browsers turn JPEG and PNG so, but WebP not, or not all of them do.

// Where the pixel (x, y) of width w and height h goes, by EXIF's orientation;
// as of CanvasRenderingContext2D.setTransform.
const TURNS = {
  2: (w, h) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: (w, h) => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w, h) => [0, -1, 1, 0, 0, w],
};

// Answers an ImageBitmap, with the numbers that are in the file.
export async function decode(blob) {
  const options = {colorSpaceConversion: 'none'};
  const start = text(new Uint8Array(await blob.slice(0, 12).arrayBuffer()));
  if (!/^RIFF.{4}WEBP$/s.test(start)) return createImageBitmap(blob, options);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const exif = hideExif(bytes); // So that no browser turns it, too.
  const bitmap = await createImageBitmap(new Blob([bytes]), options);
  const turn = TURNS[exif && orientation(exif)];
  if (!turn) return bitmap;
  const {width, height} = bitmap;
  const matrix = turn(width, height);
  const sides = matrix[0] ? [width, height] : [height, width];
  const canvas = new OffscreenCanvas(...sides);
  const context = canvas.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.setTransform(...matrix);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return createImageBitmap(canvas, options);
}

// The EXIF data of a WebP, which gets another name in `bytes`; null: none.
function hideExif(bytes) {
  const view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    if (text(bytes.subarray(at, at + 4)) === 'EXIF') {
      bytes.fill(0x58, at, at + 4);
      return bytes.slice(at + 8, at + 8 + length);
    }
    at += 8 + length + length % 2;
  }
  return null;
}

// As of the same name in tflm/media/images.py; undefined: none.
function orientation(exif) {
  const tiff = text(exif.subarray(0, 6)) === 'Exif\0\0' ? exif.slice(6) : exif;
  const view = new DataView(tiff.buffer);
  const isLittle = text(tiff.subarray(0, 4)) === 'II*\0';
  if (!isLittle && text(tiff.subarray(0, 4)) !== 'MM\0*') return undefined;
  if (tiff.length < 8) return undefined;
  const start = view.getUint32(4, isLittle);
  if (start + 2 > tiff.length) return undefined;
  const count = view.getUint16(start, isLittle);
  for (let i = 0; i < count; i++) {
    const at = start + 2 + 12 * i;
    if (at + 12 > tiff.length) return undefined;
    if (view.getUint16(at, isLittle) === 0x0112) {
      const isShort = view.getUint16(at + 2, isLittle) === 3
        && view.getUint32(at + 4, isLittle) === 1;
      return isShort ? view.getUint16(at + 8, isLittle) : undefined;
    }
  }
  return undefined;
}

function text(bytes) {
  return String.fromCharCode(...bytes);
}
