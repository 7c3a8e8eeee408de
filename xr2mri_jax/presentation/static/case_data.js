// Data of cases: loaded on demand, unpacked, and turned into what NiiVue reads.
"use strict";
window.xr2mri = window.xr2mri || {};

(function (xr2mri) {
  const HEADER = 352; // bytes of a NIfTI-1 header and its empty extension
  const waiting = {}; // by case: the promise's functions
  const NAMES = {
    prediction: "Prediction", truth: "Truth", difference: "Difference", uncertainty: "Uncertainty",
    radiograph: "Radiograph, extruded along the beam", labels: "Predicted labels",
    true_labels: "True labels",
  };

  // A case's file calls this with its data.
  xr2mri.receive = function (name, content) {
    if (waiting[name]) waiting[name].resolve(content);
  };

  // A script file; the promise fails with the file's name.
  xr2mri.loadScript = function (source) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => { script.remove(); resolve(); };
      script.onerror = () => { script.remove(); reject(new Error("cannot be loaded: " + source)); };
      document.head.append(script);
    });
  };

  // The data of a case, from the page itself or from its file beside the page.
  xr2mri.fetchCase = function (name, source) {
    const inside = document.getElementById("case-" + name);
    if (inside) return Promise.resolve(JSON.parse(inside.textContent));
    return new Promise((resolve, reject) => {
      waiting[name] = { resolve };
      xr2mri.loadScript(source).catch(reject);
    }).finally(() => { delete waiting[name]; });
  };

  async function gunzip(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  // A NIfTI-1 file of uint8 voxels, value = byte * slope.
  function nifti(shape, affine, voxels, slope) {
    const buffer = new ArrayBuffer(HEADER + voxels.length);
    const view = new DataView(buffer);
    const step = (column) => Math.hypot(...affine.map((row) => row[column]));
    view.setInt32(0, 348, true);
    [3, ...shape, 1, 1, 1, 1].forEach((n, i) => view.setInt16(40 + 2 * i, n, true));
    view.setInt16(70, 2, true);
    view.setInt16(72, 8, true);
    [1, step(0), step(1), step(2), 1, 1, 1, 1].forEach((v, i) => view.setFloat32(76 + 4 * i, v, true));
    view.setFloat32(108, HEADER, true);
    view.setFloat32(112, slope, true);
    view.setUint8(123, 2); // millimetres
    view.setInt16(254, 2, true);
    affine.flat().forEach((v, i) => view.setFloat32(280 + 4 * i, v, true));
    [110, 43, 49, 0].forEach((v, i) => view.setUint8(344 + i, v));
    new Uint8Array(buffer, HEADER).set(voxels);
    return buffer;
  }

  function made(kind, grid, voxels, top, white) {
    const slope = kind.endsWith("labels") ? 1 : top / 255;
    const { shape, affine } = grid;
    return {
      kind, name: NAMES[kind], shape, affine, voxels, slope, white,
      buffer: nifti(shape, affine, voxels, slope),
    };
  }

  // Absolute difference of two volumes on one grid, 0 outside the acquired field of the truth.
  function difference(prediction, truth, field) {
    const found = new Uint8Array(truth.voxels.length);
    for (let i = 0; i < found.length; i++) {
      if (!field || truth.voxels[i] > 0) found[i] = Math.abs(truth.voxels[i] - prediction.voxels[i]);
    }
    return made("difference", truth, found, 1, 0.3);
  }

  function decodedImage(png) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("the radiograph cannot be decoded"));
      image.src = "data:image/png;base64," + png;
    });
  }

  // The radiograph as a volume of one thick coronal slice: it lies over every coronal plane.
  function extruded(image, about) {
    const canvas = document.createElement("canvas");
    const { width, height } = image;
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    const slices = 2;
    const voxels = new Uint8Array(width * height * slices);
    for (let z = 0; z < height; z++) {
      for (let y = 0; y < slices; y++) {
        for (let x = 0; x < width; x++) {
          const from = 4 * ((height - 1 - z) * width + (width - 1 - x));
          voxels[x + width * (y + slices * z)] = pixels[from];
        }
      }
    }
    const [high, wide] = about.size_mm;
    const steps = [wide / width, about.depth_mm / slices, high / height];
    const shape = [width, slices, height];
    const affine = steps.map((step, axis) => {
      const row = [0, 0, 0, (-step * (shape[axis] - 1)) / 2];
      row[axis] = step;
      return row;
    });
    return made("radiograph", { shape, affine }, voxels, 1, 1);
  }

  async function surface(about) {
    const [points, corners] = await Promise.all([gunzip(about.vertices), gunzip(about.faces)]);
    return {
      name: about.name, colour: about.colour,
      vertices: Float32Array.from(new Int16Array(points), (v) => v * about.unit),
      faces: new Uint32Array(corners),
    };
  }

  // The case with unpacked layers and meshes; the layers lie over one another in this order.
  xr2mri.unpack = async function (packed) {
    const layers = {};
    let field = false;
    for (const about of packed.layers) {
      const voxels = new Uint8Array(await gunzip(about.data));
      layers[about.kind] = made(about.kind, about, voxels, about.top, about.white);
      if (about.kind === "truth") field = about.field;
    }
    const { prediction, truth } = layers;
    if (prediction && truth && String(prediction.shape) === String(truth.shape)) {
      layers.difference = difference(prediction, truth, field);
    }
    let image = null;
    if (packed.radiograph) {
      image = await decodedImage(packed.radiograph.png);
      layers.radiograph = extruded(image, packed.radiograph);
    }
    const order = Object.keys(NAMES).filter((kind) => layers[kind]);
    return {
      ...packed, image, layers: order.map((kind) => layers[kind]),
      surfaces: await Promise.all(packed.surfaces.map(surface)),
    };
  };

  // The value of a layer at a point in mm, null outside its grid; its axes are nearest to R, A, S.
  xr2mri.valueAt = function (layer, mm) {
    const index = mm.map((v, axis) => {
      return Math.round((v - layer.affine[axis][3]) / layer.affine[axis][axis]);
    });
    if (index.some((v, axis) => v < 0 || v >= layer.shape[axis])) return null;
    const [x, y, z] = index;
    return layer.voxels[x + layer.shape[0] * (y + layer.shape[1] * z)] * layer.slope;
  };
})(window.xr2mri);
