// What the page does: pictures in, points and their names out.

import * as photo from './photo.js';
import * as view from './view.js';

const LONGEST_SHOWN = 1600; // Pixels of a picture's longer side.
const MOST_NAMED = 12; // More names hide the picture.
const LEAST_AREA = 0.2; // Of a dot of no confidence, of a full one.
const NAME_ROOM = 0.25; // Of the picture's width, for a name beside its dot.
const SAME_SIDE = 0.05; // Of the picture's width; how near is in the middle.
const TIME_EVERY = 300; // Milliseconds between two readings, to be legible.
const KINDS = {
  keypoints: ['keypoints', 'keypoint_confidence'],
  landmarks: ['landmarks', 'confidence'],
};

const part = (id) => document.getElementById(id);
const canvas = part('canvas');
const video = part('video');

let notes; // demo.json.
let loaded; // Promise of what model.js loads.
let kind; // Of points that are shown: a name in KINDS.
let found; // {outputs, width, height} of the picture that is shown.
let turn = 0; // Counts what was asked for: what is older is dropped.
let stream = null; // Of the camera, while it runs.
let cameraId = null; // Of a camera that was chosen.

// ---- Pictures ------------------------------------------------------------

async function openFile(blob, name) {
  const mine = ++turn;
  stopCamera();
  let bitmap;
  try {
    bitmap = await photo.decode(blob);
  } catch {
    if (mine === turn) {
      say(`${name} is no picture that this browser reads; save it as JPEG or`
        + ' PNG.', true);
    }
    return;
  }
  try {
    const times = await look(bitmap, bitmap.width, bitmap.height, mine);
    if (!times) return;
    canvas.setAttribute('aria-label', name);
    const count = notes.landmarks.length;
    say(`${name}: ${bitmap.width} × ${bitmap.height} pixels, ${count}`
      + ' landmarks.');
    showTimes(times);
  } catch (error) {
    if (mine === turn) {
      say(`${name} cannot be used: ${error.message ?? error}`, true);
    }
  } finally {
    bitmap.close();
  }
}

// Finds and shows the points of a picture, unless something newer was asked
// for. Answers the milliseconds that it took, or null.
async function look(source, width, height, mine) {
  if (mine !== turn) return null;
  if (Math.min(width, height) < 2) {
    throw new Error('it must have at least 2 × 2 pixels');
  }
  const detect = await loaded;
  if (mine !== turn) return null;
  const start = performance.now();
  const {full_size: fullSize, image_size: size} = notes;
  const seen = view.square(source, width, height, fullSize, size);
  const between = performance.now();
  const outputs = await detect(seen);
  const end = performance.now();
  if (mine !== turn) return null;
  if (source !== canvas) draw(source, width, height);
  found = {outputs, width, height};
  showPoints();
  return {scaling: between - start, model: end - between};
}

function draw(source, width, height) {
  const scale = Math.min(1, LONGEST_SHOWN / Math.max(width, height));
  const shown = [width, height].map(
      (side) => Math.max(1, Math.round(scale * side)));
  if (canvas.width !== shown[0] || canvas.height !== shown[1]) {
    [canvas.width, canvas.height] = shown;
    part('picture').style.setProperty('--aspect', width / height);
  }
  const context = canvas.getContext(
      '2d', {alpha: false, willReadFrequently: true});
  context.imageSmoothingQuality = 'high';
  context.fillRect(0, 0, ...shown);
  context.drawImage(source, 0, 0, ...shown);
}

// ---- Camera --------------------------------------------------------------

async function startCamera() {
  const mine = ++turn;
  stopCamera();
  choose(null);
  say('Waiting for the camera …');
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        width: {ideal: 640},
        ...(cameraId ? {deviceId: cameraId} : {facingMode: 'user'}),
      },
    });
  } catch (error) {
    if (mine === turn) {
      say({
        NotAllowedError: 'The camera is not allowed. Allow it in the browser,'
          + ' then try again.',
        NotFoundError: 'No camera was found.',
        NotReadableError: 'Another program uses the camera.',
      }[error.name] ?? `The camera cannot be used: ${error.message}`, true);
    }
    return;
  }
  if (mine !== turn) {
    stop(opened);
    return;
  }
  stream = opened;
  video.srcObject = stream;
  part('camera').setAttribute('aria-pressed', 'true');
  part('camera').textContent = 'Stop the camera';
  opened.getVideoTracks()[0].addEventListener('ended', () => {
    if (stream !== opened) return;
    turn++;
    stopCamera();
    say('The camera has stopped.', true);
  });
  try {
    const ids = await cameras();
    if (mine !== turn) return;
    part('next-camera').hidden = ids.length < 2;
    await video.play();
    canvas.setAttribute('aria-label', 'Picture of the camera');
    say('The camera is on.');
    await followCamera(mine);
  } catch (error) {
    if (mine === turn) {
      stopCamera();
      say(`The camera cannot be used: ${error.message}`, true);
    }
  }
}

async function followCamera(mine) {
  const mean = {scaling: 0, model: 0}; // Over about the last ten frames.
  let frames = 0;
  let shownAt = 0;
  for (;;) {
    await nextFrame();
    if (mine !== turn) return;
    // From the canvas, so that the points are of the frame that is shown.
    draw(video, video.videoWidth, video.videoHeight);
    const times = await look(canvas, canvas.width, canvas.height, mine);
    if (!times) return;
    frames++;
    for (const name of Object.keys(mean)) {
      mean[name] += (times[name] - mean[name]) / Math.min(frames, 10);
    }
    if (performance.now() - shownAt > TIME_EVERY) {
      showTimes(mean);
      shownAt = performance.now();
    }
  }
}

function nextFrame() {
  return new Promise((resolve) => {
    if ('requestVideoFrameCallback' in video) {
      video.requestVideoFrameCallback(resolve);
    } else {
      requestAnimationFrame(resolve);
    }
  });
}

function stopCamera() {
  if (stream) stop(stream);
  stream = null;
  video.srcObject = null;
  part('camera').setAttribute('aria-pressed', 'false');
  part('camera').textContent = 'Use the camera';
  part('next-camera').hidden = true;
  if (found) showPoints(); // With the confidence in their names again.
}

function stop(aStream) {
  aStream.getTracks().forEach((track) => track.stop());
}

async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === 'videoinput')
      .map((device) => device.deviceId);
}

async function nextCamera() {
  const mine = turn;
  const ids = await cameras();
  if (mine !== turn) return;
  const now = stream?.getVideoTracks()[0].getSettings().deviceId;
  cameraId = ids[(ids.indexOf(now) + 1) % ids.length];
  startCamera();
}

// ---- Points --------------------------------------------------------------

// Makes a dot and a row for each point of the kind that is shown.
function makePoints() {
  const points = notes[kind];
  part('list-title').textContent =
    `${points.length} ${kind === 'keypoints' ? 'keypoints' : 'landmarks'}`;
  part('list').classList.toggle('numbers', kind === 'landmarks');
  // In a list of landmarks, and beside its dot, its number says enough.
  const label = (name, index) => kind === 'landmarks' ? `${index}` : name;
  part('dots').replaceChildren(...points.map(({name, colour}, index) => {
    const dot = makeButton(index, colour);
    dot.className = 'dot';
    dot.append(make('span', '', label(name, index)));
    dot.hidden = true;
    return dot;
  }));
  part('list').replaceChildren(...points.map(({name, colour}, index) => {
    const row = makeButton(index, colour);
    const bar = make('span', 'bar');
    bar.append(make('i', ''));
    row.append(
        make('span', 'swatch'), make('span', 'name', label(name, index)),
        make('span', 'value', '–'), bar);
    const item = document.createElement('li');
    item.append(row);
    return item;
  }));
  part('named').checked = points.length <= MOST_NAMED;
  nameDots();
  point(null);
  if (found) showPoints();
}

function makeButton(index, colour) {
  const button = document.createElement('button');
  button.type = 'button';
  button.tabIndex = index ? -1 : 0;
  button.dataset.index = index;
  button.style.setProperty('--colour', colour);
  return button;
}

function make(tag, className, text = '') {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function showPoints() {
  const {outputs, width, height} = found;
  const {full_size: fullSize, image_size: size} = notes;
  const [positions, confidences] = KINDS[kind].map((name) => outputs[name]);
  const dots = part('dots').children;
  const rows = part('list').children;
  const places = notes[kind].map((_, index) =>
    [width, height].map((length, axis) => {
      const place = view.toPicture(
          positions[2 * index + axis], length, fullSize, size);
      // As in Python; keypoints may lie beyond.
      return kind === 'landmarks' ?
          Math.min(Math.max(place, 0), length - 1) : place;
    }));
  const middle = places.reduce((sum, [x]) => sum + x, 0) / places.length;
  notes[kind].forEach(({name}, index) => {
    const [x, y] = places[index];
    const confidence = confidences[index];
    const dot = dots[index];
    dot.hidden = false;
    // Of a pixel, its centre is half a pixel from its edge.
    dot.style.left = `${100 * (x + 0.5) / width}%`;
    dot.style.top = `${100 * (y + 0.5) / height}%`;
    dot.style.setProperty(
        '--scale', Math.sqrt(Math.max(confidence, LEAST_AREA)));
    // Names stand outwards, where there is room; near the middle as before,
    // or those in the camera's pictures would flicker.
    const side = dot.classList.contains('name-left') ? 1 : -1;
    const isLeft = x < middle + side * SAME_SIDE * width;
    const room = isLeft ? NAME_ROOM : 1 - NAME_ROOM;
    dot.classList.toggle('name-left', x > room * width);
    const value = confidence.toFixed(2);
    const row = rows[index].firstElementChild;
    // A name that changes at every frame would be read out at every frame.
    const label = stream ? name : `${name}, confidence ${value}`;
    for (const button of [dot, row]) {
      button.setAttribute('aria-label', label);
    }
    row.querySelector('.value').textContent = value;
    row.style.setProperty('--confidence', confidence);
  });
}

// Marks the dot and the row of a point; null: of none.
function point(index) {
  for (const button of document.querySelectorAll(':is(#dots, #list) button')) {
    button.classList.toggle('on', Number(button.dataset.index) === index);
  }
}

// Moves by the arrow keys among the buttons of an element, which is one stop
// of the Tab key, and marks what is pointed at by mouse, finger or keyboard.
function connect(container) {
  const buttonOf = (event) => event.target.closest('button');
  container.addEventListener('keydown', (event) => {
    const buttons = [...container.querySelectorAll('button')];
    const at = buttons.indexOf(buttonOf(event));
    const to = {
      ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1,
      ArrowUp: at - 1, Home: 0, End: buttons.length - 1,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) {
      return; // Back, for instance.
    }
    event.preventDefault();
    buttons.at(to % buttons.length).focus();
  });
  container.addEventListener('focusin', (event) => {
    for (const button of container.querySelectorAll('button')) {
      button.tabIndex = button === buttonOf(event) ? 0 : -1;
    }
    point(Number(buttonOf(event).dataset.index));
  });
  container.addEventListener('focusout', () => point(null));
  container.addEventListener('pointerover', (event) => {
    if (buttonOf(event)) point(Number(buttonOf(event).dataset.index));
  });
  container.addEventListener('pointerleave', () => {
    const focused = document.activeElement.dataset.index;
    point(focused === undefined ? null : Number(focused));
  });
  // Not every browser focuses a button that is clicked.
  container.addEventListener('click', (event) => buttonOf(event)?.focus());
}

function nameDots() {
  part('dots').classList.toggle('named', part('named').checked);
}

// ---- The rest ------------------------------------------------------------

function say(text, isBad = false) {
  part('status').textContent = text;
  part('status').classList.toggle('bad', isBad);
}

function showTimes({scaling, model}) {
  part('time').hidden = false;
  part('time').textContent = `${(scaling + model).toFixed(1)} ms per frame:`
    + ` ${scaling.toFixed(1)} to scale it, ${model.toFixed(1)} in the model`;
}

// Marks the button of an example as the one that is shown; null: none.
function choose(chosen) {
  for (const button of part('examples').children) {
    button.setAttribute('aria-pressed', button === chosen);
  }
}

function makeExamples() {
  part('examples').hidden = !notes.examples.length;
  part('examples').append(...notes.examples.map((file, index) => {
    const button = document.createElement('button');
    const picture = document.createElement('img');
    const name = `Example ${index + 1}`;
    button.type = 'button';
    picture.src = file;
    picture.alt = name;
    button.append(picture);
    button.setAttribute('aria-pressed', 'false');
    button.addEventListener('click', async () => {
      choose(button);
      stopCamera();
      const asked = ++turn;
      try {
        const answer = await fetch(file);
        if (!answer.ok) throw new Error(`${answer.status}`);
        const blob = await answer.blob();
        if (asked === turn) await openFile(blob, name);
      } catch (error) {
        if (asked === turn) {
          say(`${name} cannot be loaded: ${error.message}`, true);
        }
      }
    });
    return button;
  }));
}

function takeFiles() {
  part('file').addEventListener('change', () => {
    const [file] = part('file').files;
    part('file').value = ''; // The same file may be chosen again.
    if (file) {
      choose(null);
      openFile(file, file.name);
    }
  });
  let depth = 0; // Of elements that the mouse is dragged over.
  const drag = (step) => (event) => {
    event.preventDefault();
    depth = step === null ? 0 : depth + step;
    document.body.classList.toggle('dragging', depth > 0);
  };
  document.addEventListener('dragenter', drag(1));
  document.addEventListener('dragleave', drag(-1));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    drag(null)(event);
    const [file] = event.dataTransfer.files;
    if (file) {
      choose(null);
      openFile(file, file.name);
    } else {
      say('That is no file. Save the picture, then drop its file.', true);
    }
  });
}

function describe() {
  const {full_size: fullSize, image_size: size} = notes;
  document.title = notes.title;
  part('title').textContent = notes.title;
  part('litert-version').textContent = notes.litert_version;
  if (fullSize !== size) {
    const before = 100 * Math.floor((fullSize - size) / 2) / fullSize;
    const after = 100 - before - 100 * size / fullSize;
    part('seen').style.inset = `${before}% ${after}% ${after}% ${before}%`;
    part('seen').hidden = false;
    part('crop-note').textContent =
      'The model sees what is inside the dashed frame.';
  }
}

async function start() {
  part('not-started').remove();
  part('main').hidden = false;
  part('footer').hidden = false;
  try {
    const answer = await fetch('demo.json', {cache: 'no-cache'});
    if (!answer.ok) throw new Error(`demo.json: HTTP ${answer.status}`);
    notes = await answer.json();
    describe();
    kind = notes.keypoints.length ? 'keypoints' : 'landmarks';
    part('kinds').hidden = !notes.keypoints.length;
    for (const choice of document.getElementsByName('kind')) {
      choice.checked = choice.value === kind;
      choice.addEventListener('change', () => {
        kind = choice.value;
        makePoints();
      });
    }
    makePoints();
    connect(part('dots'));
    connect(part('list'));
    part('named').addEventListener('change', nameDots);
    makeExamples();
    loaded = loadModel();
    takeFiles();
    offerCamera();
    await loaded;
  } catch (error) {
    say(`The model cannot be loaded: ${error.message ?? error}`, true);
    return;
  }
  if (turn) return; // A picture was chosen while the model was loaded.
  say('Ready. Choose a picture.');
  part('examples').firstElementChild?.click();
}

async function loadModel() {
  const {load} = await import('./model.js');
  const detect = await load('detector.tflite', notes.image_size);
  // The first run also prepares the model.
  await detect(new Float32Array(notes.image_size ** 2 * 3));
  return detect;
}

function offerCamera() {
  part('camera').disabled = !navigator.mediaDevices;
  if (!navigator.mediaDevices) {
    part('camera').title = 'The camera needs https:// or localhost';
    part('camera').textContent = 'Camera: needs https:// or localhost';
  }
  part('camera').addEventListener('click', () => {
    if (!stream) {
      startCamera();
    } else {
      turn++;
      stopCamera();
      say('The camera is off.');
    }
  });
  part('next-camera').addEventListener('click', nextCamera);
}

start();
