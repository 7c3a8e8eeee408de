// The radiograph beside the planes, with the same cross-hair.
"use strict";

(function (xr2mri) {
  // Draws into a canvas; `moved(x, z)` is called with mm to the right and upwards of the box's middle.
  xr2mri.Radiograph = class {
    constructor(canvas, moved) {
      this.canvas = canvas;
      this.case = null;
      this.at = [0, 0, 0];
      let pressed = false;
      canvas.addEventListener("pointerdown", (event) => { pressed = true; this.point(event, moved); });
      canvas.addEventListener("pointermove", (event) => { if (pressed) this.point(event, moved); });
      window.addEventListener("pointerup", () => { pressed = false; });
    }

    show(shown) {
      this.case = shown.image ? shown : null;
      this.canvas.closest("figure").hidden = !this.case;
      this.draw();
    }

    cross(mm) {
      this.at = mm;
      this.draw();
    }

    point(event, moved) {
      if (!this.case) return;
      const box = this.canvas.getBoundingClientRect();
      const [high, wide] = this.case.radiograph.size_mm;
      // The patient's right, +x, is at the left.
      moved((0.5 - (event.clientX - box.left) / box.width) * wide,
            (0.5 - (event.clientY - box.top) / box.height) * high);
    }

    draw() {
      if (!this.case) return;
      const { canvas } = this;
      const size = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)) || 256;
      const [high, wide] = this.case.radiograph.size_mm;
      canvas.width = size;
      canvas.height = Math.round((size * high) / wide);
      const pen = canvas.getContext("2d");
      pen.drawImage(this.case.image, 0, 0, canvas.width, canvas.height);
      const x = canvas.width * (0.5 - this.at[0] / wide);
      const y = canvas.height * (0.5 - this.at[2] / high);
      pen.strokeStyle = "#f2c14e";
      pen.lineWidth = Math.max(1, size / 320);
      pen.beginPath();
      pen.moveTo(x, 0); pen.lineTo(x, canvas.height);
      pen.moveTo(0, y); pen.lineTo(canvas.width, y);
      pen.stroke();
      pen.fillStyle = "#f2c14e";
      pen.font = `bold ${Math.round(size / 20)}px system-ui, sans-serif`;
      pen.textBaseline = "middle";
      pen.fillText("R", size * 0.02, canvas.height / 2);
      pen.textAlign = "right";
      pen.fillText("L", size * 0.98, canvas.height / 2);
    }
  };
})(window.xr2mri);
