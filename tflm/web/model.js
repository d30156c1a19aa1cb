// The detector, run by LiteRT.js.

import * as litert from './litert/index.js';

// Loads what computes and then a .tflite file. Answers an async function from
// a view, Float32Array [size, size, 3], to its outputs by name: `landmarks`,
// [K, 2], (x, y), fractions of the view, and `confidence`, [K]; maybe
// `keypoints` and `keypoint_confidence`, alike. All are flat Float32Arrays.
export async function load(file, size) {
  // By default LiteRT.js asks for a graphics processor, and warns where there
  // is none. This model is small: it runs on the processor.
  litert.Environment.create = async () =>
    new litert.Environment({webGpuDevice: null});
  // What it prints at its start would count as errors in the console.
  self.Module = {
    printErr: (text) => /^(INFO|WARNING): /.test(text) || console.error(text),
  };
  try {
    await litert.loadLiteRt(new URL('./litert/wasm/', import.meta.url).href);
  } catch (error) { // A script that cannot be loaded gives an Event.
    throw error instanceof Error ? error
      : new Error('litert/wasm/ cannot be loaded');
  }
  // Asked for anew: a later export has the same name.
  const answer = await fetch(file, {cache: 'no-cache'});
  if (!answer.ok) throw new Error(`${file}: HTTP ${answer.status}`);
  const content = new Uint8Array(await answer.arrayBuffer());
  const model = await litert.loadAndCompile(content, {accelerator: 'wasm'});

  return async (view) => {
    const images = new litert.Tensor(view, [1, size, size, 3]);
    let outputs = {};
    try {
      outputs = await model.run({images});
      return Object.fromEntries(Object.entries(outputs).map(
          ([name, tensor]) => [name, tensor.toTypedArray()]));
    } finally {
      // They live in the memory of WebAssembly, where nothing is collected.
      for (const tensor of [images, ...Object.values(outputs)]) {
        tensor.delete();
      }
    }
  };
}
