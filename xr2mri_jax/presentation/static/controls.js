// The controls around the viewer: cases, layers, window, planes, meshes, keys.
"use strict";

(function (xr2mri) {
  const root = document.querySelector("[data-viewer]");
  if (!root) return;
  const find = (name) => root.querySelector(`[data-${name}]`);
  const canvas = find("canvas");
  const status = find("status");
  const sliders = [0, 1, 2].map((axis) => find(`axis="${axis}"`));
  const STEP = 1; // mm per key press
  // What the colours of a layer mean; predicted and true intensities lie in [0, 1].
  const SCALES = {
    difference: "absolute difference of intensities in [0, 1]",
    uncertainty: "half-width of the 90 % interval of intensities in [0, 1]",
  };
  const listed = JSON.parse(find("cases").textContent);
  let current = "";
  let request = 0;

  const radiograph = new xr2mri.Radiograph(find("radiograph"), (x, z) => {
    if (viewer.case) viewer.moveTo([x, viewer.at()[1], z]);
  });
  const viewer = new xr2mri.Viewer(canvas, moved, (low, high) => {
    setWindowSliders(low, high);
    viewer.setWindow(low, high);
  });

  function moved(mm) {
    radiograph.cross(mm);
    mm.forEach((v, axis) => {
      const shown = Math.round(v);
      sliders[axis].value = shown;
      sliders[axis].setAttribute("aria-valuetext", place(axis, v));
    });
    if (viewer.case) status.textContent = said(mm);
  }

  function place(axis, v) {
    const side = [["L", "R"], ["P", "A"], ["I", "S"]][axis][v >= 0 ? 1 : 0];
    return `${side} ${Math.abs(v).toFixed(0)} mm`;
  }

  function said(mm) {
    const words = [mm.map((v, axis) => place(axis, v)).join(", ")];
    for (const layer of viewer.case.layers) {
      const value = xr2mri.valueAt(layer, mm);
      if (value === null) continue;
      if (layer.kind.endsWith("labels")) {
        const row = viewer.case.labels.find((one) => one.code === value);
        if (row) words.push(`${layer.name.toLowerCase()}: ${row.name.replaceAll("_", " ")}`);
      } else if (layer.kind !== "radiograph") {
        words.push(`${layer.name.toLowerCase()} ${value.toFixed(2)}`);
      }
    }
    return words.join("; ");
  }

  function element(tag, attributes, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in made && name !== "list") made[name] = value; else made.setAttribute(name, value);
    }
    made.append(...content);
    return made;
  }

  // A check box and an opacity slider for each layer.
  function listLayers() {
    const list = find("layers");
    list.replaceChildren(...viewer.case.layers.map((layer) => {
      const opacity = viewer.opacity(layer.kind);
      const box = element("input", { type: "checkbox", checked: opacity > 0 });
      const slider = element("input", {
        type: "range", min: 0, max: 1, step: 0.05, value: opacity || startOpacity(layer.kind),
        "aria-label": `Opacity of ${layer.name.toLowerCase()}`,
      });
      const apply = () => viewer.setOpacity(layer.kind, box.checked ? Number(slider.value) : 0);
      box.addEventListener("change", apply);
      slider.addEventListener("input", () => { box.checked = true; apply(); });
      const label = element("label", {}, box, " ", layer.name);
      label.dataset.layer = layer.kind;
      return element("li", {}, label, slider);
    }));
  }

  function startOpacity(kind) {
    return { truth: 1, difference: 0.9, radiograph: 0.6, uncertainty: 0.7, true_labels: 0.35 }[kind] || 1;
  }

  function setWindowSliders(low, high) {
    find("low").value = low;
    find("high").value = high;
  }

  function listFacts(shown) {
    const rows = shown.facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    find("facts").replaceChildren(...rows);
  }

  // The colours of labels, and the scales of the layers that are not grey.
  function listColours(shown) {
    const item = (background, text, ...further) => {
      const patch = element("span", { className: ["patch", ...further].join(" ") });
      patch.style.background = background;
      return element("li", {}, patch, text);
    };
    const scales = shown.layers.filter((layer) => layer.kind in SCALES).map((layer) => {
      const range = `0 to ${layer.white.toFixed(2)}${layer.white < 1 ? " or more" : ""}`;
      const text = `${layer.name}: ${range} (${SCALES[layer.kind]})`;
      return item(`linear-gradient(to right, ${viewer.scale(layer.kind).join(",")})`, text, "scale");
    });
    const labels = shown.labels.map((row) => {
      return item(`rgb(${row.colour.join(",")})`, row.name.replaceAll("_", " "));
    });
    find("legend").replaceChildren(...labels, ...scales);
    find("legend").hidden = !labels.length && !scales.length;
  }

  // Shows a case by name; of two requests the later one counts.
  async function show(name) {
    const mine = ++request;
    const one = listed.find((candidate) => candidate.name === name);
    root.dataset.state = "loading";
    status.textContent = `Loading ${one.title}`;
    try {
      const packed = await xr2mri.fetchCase(name, one.source);
      if (mine !== request) return;
      const shown = await viewer.show(packed);
      if (mine !== request) return;
      current = name;
      find("title").textContent = one.title;
      find("choice").value = name;
      canvas.setAttribute("aria-label", `Planes and 3D view of ${one.title}`);
      radiograph.show(shown);
      listLayers();
      listFacts(shown);
      listColours(shown);
      const main = shown.layers[0];
      setWindowSliders(0, main.kind.endsWith("labels") ? 1 : main.white);
      find("window").hidden = main.kind.endsWith("labels");
      find("meshes").closest("label").hidden = !shown.surfaces.length;
      if (!shown.surfaces.length) find("clip").value = "none"; // else the 3D view would be empty
      applySolid();
      moved(viewer.at());
      root.dataset.state = "shown";
    } catch (error) {
      if (mine !== request) return;
      root.dataset.state = "failed";
      status.textContent = `${one.title} cannot be shown: ${error.message}`;
    }
  }

  function applySolid() {
    if (!viewer.case) return;
    viewer.setMeshes(find("meshes").checked);
    viewer.setClip(find("clip").value, Number(find("depth").value));
  }

  function setView(name) {
    if (!viewer.case) return;
    viewer.setView(name);
    for (const button of root.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", String(button.dataset.view === name));
    }
  }

  function step(by) {
    const at = listed.findIndex((one) => one.name === current);
    const next = listed[at + by];
    if (next) show(next.name);
  }

  function move(axis, by) {
    const mm = viewer.at();
    mm[axis] += by * STEP;
    viewer.moveTo(mm);
  }

  function widen(factor) {
    const [low, high] = [Number(find("low").value), Number(find("high").value)];
    setWindowSliders(low, Math.min(Math.max(low + (high - low) * factor, low + 0.05), 1));
    viewer.setWindow(Number(find("low").value), Number(find("high").value));
  }

  const KEYS = {
    ArrowLeft: () => move(0, 1), ArrowRight: () => move(0, -1), ArrowUp: () => move(2, 1),
    ArrowDown: () => move(2, -1), PageUp: () => move(1, 1), PageDown: () => move(1, -1),
    "1": () => setView("all"), "2": () => setView("coronal"), "3": () => setView("sagittal"),
    "4": () => setView("axial"), "5": () => setView("solid"), "+": () => widen(1 / 1.15), "-": () => widen(1.15),
    n: () => step(1), p: () => step(-1), "0": () => viewer.moveTo([0, 0, 0]),
    a: () => viewer.turn(-10, 0), d: () => viewer.turn(10, 0), w: () => viewer.turn(0, 10), s: () => viewer.turn(0, -10),
  };
  // Before NiiVue's own keys, of which one would open a dialogue.
  canvas.parentElement.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.key === "Tab") return;
    event.stopPropagation();
    const act = KEYS[event.key];
    if (!act || !viewer.case) return;
    event.preventDefault();
    act();
  }, true);
  canvas.parentElement.addEventListener("keyup", (event) => event.stopPropagation(), true);

  sliders.forEach((slider, axis) => slider.addEventListener("input", () => {
    if (!viewer.case) return;
    const mm = viewer.at();
    mm[axis] = Number(slider.value);
    viewer.moveTo(mm);
  }));
  for (const name of ["low", "high"]) {
    find(name).addEventListener("input", () => {
      const [low, high] = [Number(find("low").value), Number(find("high").value)];
      if (viewer.case) viewer.setWindow(Math.min(low, high - 0.01), Math.max(high, low + 0.01));
    });
  }
  for (const name of ["meshes", "clip", "depth"]) find(name).addEventListener("input", applySolid);
  for (const button of root.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => setView(button.dataset.view));
  }
  find("choice").addEventListener("change", (event) => show(event.target.value));
  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => {
      show(button.dataset.show);
      root.scrollIntoView({ block: "start" });
      canvas.focus({ preventScroll: true });
    });
  }
  window.addEventListener("resize", () => radiograph.draw());

  // For cases that arrive later, and for tests.
  xr2mri.page = {
    viewer, show,
    add(name, title, source) {
      listed.push({ name, title, source });
      find("choice").append(element("option", { value: name }, title));
      root.hidden = false;
    },
  };
  if (listed.length) show(listed[0].name);
})(window.xr2mri);
