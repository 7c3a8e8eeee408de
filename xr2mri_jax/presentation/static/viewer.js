// The viewer: NiiVue with the layers of a case, its meshes, cross-hair, window and clip plane.
"use strict";

(function (xr2mri) {
  const COLOURS = {
    prediction: "gray", truth: "gray", difference: "inferno", uncertainty: "viridis", radiograph: "gray",
  };
  const OPACITY = { prediction: 1, truth: 0, difference: 0, uncertainty: 0, radiograph: 0, labels: 0.35,
                    true_labels: 0 };
  const VIEWS = { all: "MULTIPLANAR", coronal: "CORONAL", sagittal: "SAGITTAL", axial: "AXIAL", solid: "RENDER" };
  // By name: the clip plane's azimuth and elevation; what lies before it is cut away.
  const CLIPS = { anterior: [180, 0], posterior: [0, 0], right: [90, 0], left: [270, 0], superior: [0, 90],
                  inferior: [0, -90] };
  const OPTIONS = {
    isRadiologicalConvention: true, sagittalNoseLeft: true, dragAndDropEnabled: false, logLevel: "silent",
    crosshairColor: [0.95, 0.76, 0.31, 1], crosshairWidth: 0.6, crosshairWidthUnit: "mm", multiplanarLayout: 2,
    multiplanarShowRender: 1, multiplanarEqualSize: true, show3Dcrosshair: true, tileMargin: 2,
    clipPlaneColor: [0, 0, 0, 0], meshThicknessOn2D: 0, isClipAllVolumes: true, fontColor: [0.95, 0.76, 0.31, 1],
    loadingText: "",
  };

  function labelColours(rows) {
    const sorted = [...rows].sort((a, b) => a.code - b.code);
    const column = (pick) => [0, ...sorted.map(pick)];
    return {
      I: column((row) => row.code), R: column((row) => row.colour[0]), G: column((row) => row.colour[1]),
      B: column((row) => row.colour[2]), A: column(() => 255), labels: ["", ...sorted.map((row) => row.name)],
    };
  }

  let loading = null;
  // NiiVue, from the page itself or from its file; loaded when a case is shown for the first time.
  function niivue() {
    const inside = document.getElementById("niivue");
    loading ??= (async () => {
      if (inside && inside.textContent.length > 0) {
        const script = document.createElement("script");
        script.textContent = inside.textContent;
        document.head.append(script);
      } else {
        await xr2mri.loadScript(inside.dataset.source);
      }
      return window.niivue;
    })();
    return loading;
  }

  xr2mri.Viewer = class {
    // `moved(mm)` follows the cross-hair, `windowed(low, high)` the window that a drag has set.
    constructor(canvas, moved, windowed) {
      Object.assign(this, { canvas, moved, windowed, case: null, nv: null, shownMeshes: true, ready: false });
    }

    async start() {
      if (this.nv) return;
      this.lib = await niivue();
      const nv = new this.lib.Niivue(OPTIONS);
      await nv.attachToCanvas(this.canvas, false);
      nv.onLocationChange = (about) => this.moved(Array.from(about.mm).slice(0, 3));
      nv.onIntensityChange = (volume) => this.windowed(volume.cal_min, volume.cal_max);
      this.nv = nv;
    }

    async show(packed) {
      const shown = await xr2mri.unpack(packed);
      await this.start();
      const { nv, lib } = this;
      this.ready = false;
      // NiiVue would draw everything again for each layer and mesh.
      nv.drawScene = nv.updateGLVolume = () => {};
      const at = this.case ? this.at() : [0, 0, 0];
      [...nv.meshes].forEach((mesh) => nv.removeMesh(mesh));
      [...nv.volumes].reverse().forEach((volume) => nv.removeVolume(volume));
      for (const layer of shown.layers) {
        const image = await lib.NVImage.new(layer.buffer, `${layer.kind}.nii`, COLOURS[layer.kind] || "gray",
                                            this.firstOpacity(shown, layer.kind), null, 0, layer.white);
        if (layer.kind.endsWith("labels")) image.setColormapLabel(labelColours(shown.labels));
        nv.addVolume(image);
      }
      this.case = shown;
      for (const one of shown.surfaces) {
        nv.addMesh(new lib.NVMesh(one.vertices, one.faces, one.name, new Uint8Array([...one.colour, 255]), 1, true,
                                  nv.gl));
      }
      delete nv.drawScene;
      delete nv.updateGLVolume;
      nv.updateGLVolume();
      this.moveTo(at);
      this.ready = true;
      return shown;
    }

    // The first layer of a case without a prediction is opaque.
    firstOpacity(shown, kind) {
      return kind === shown.layers[0].kind ? 1 : OPACITY[kind];
    }

    // Five colours of a layer's colour map, from 0 to its white, for CSS.
    scale(kind) {
      const map = this.nv.colormap(COLOURS[kind]);
      return [0, 64, 128, 192, 255].map((i) => `rgb(${map.slice(4 * i, 4 * i + 3).join(",")})`);
    }

    index(kind) { return this.case.layers.findIndex((layer) => layer.kind === kind); }

    opacity(kind) { return this.nv.volumes[this.index(kind)].opacity; }

    setOpacity(kind, value) { this.nv.setOpacity(this.index(kind), value); }

    // The same window for prediction and truth, in units of their values.
    setWindow(low, high) {
      for (const kind of ["prediction", "truth"]) {
        const volume = this.nv.volumes[this.index(kind)];
        if (volume) Object.assign(volume, { cal_min: low, cal_max: high });
      }
      this.nv.updateGLVolume();
    }

    at() { return Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos)).slice(0, 3); }

    moveTo(mm) {
      const inside = this.nv.mm2frac(mm).map((v) => Math.min(Math.max(v, 0.002), 0.998));
      this.nv.scene.crosshairPos = inside;
      this.moved(this.at());
      // At most one drawing a frame, however fast a slider moves.
      this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.nv.drawScene(); });
    }

    setView(name) { this.nv.setSliceType(this.lib.SLICE_TYPE[VIEWS[name]]); }

    // `depth` from -1 (nothing is cut) to 1 (all is cut).
    setClip(name, depth) {
      if (name === "none") this.nv.setClipPlane([2, 0, 0]);
      else this.nv.setClipPlane([-depth * 0.6, ...CLIPS[name]]);
    }

    setMeshes(visible) {
      this.shownMeshes = visible;
      this.nv.meshes.forEach((mesh) => { mesh.visible = visible; });
      this.nv.drawScene();
    }

    turn(azimuth, elevation) {
      const { scene } = this.nv;
      this.nv.setRenderAzimuthElevation(scene.renderAzimuth + azimuth, scene.renderElevation + elevation);
    }
  };
  xr2mri.CLIPS = Object.keys(CLIPS);
})(window.xr2mri);
