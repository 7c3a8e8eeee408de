// The form of the local app: uploads a radiograph, follows the work, shows what was made.
"use strict";

(function (xr2mri) {
  const find = (name) => document.querySelector(`[data-${name}]`);
  const form = find("upload");
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const PAUSE = 250; // milliseconds between two questions for the state
  const jobs = [];

  async function answer(address, options = {}) {
    const response = await fetch(address, { ...options, headers: { "X-CSRF-Token": token } });
    if (response.status === 204) return {};
    const said = await response.json().catch(() => ({ error: `the server answers ${response.status}` }));
    if (!response.ok) throw new Error(said.error);
    return said;
  }

  function refuse(line) {
    find("error").textContent = line;
    find("error").hidden = !line;
  }

  function listDownloads(job, downloads) {
    for (const [name, files] of Object.entries(downloads)) {
      if (document.getElementById(`files-${name}`)) continue;
      const item = document.createElement("li");
      item.id = `files-${name}`;
      item.append(`${name.split("-").pop()} knee: `);
      files.forEach((file, i) => {
        const link = document.createElement("a");
        link.href = `/jobs/${job}/files/${name}/${file.name}`;
        link.textContent = file.text;
        item.append(i ? ", " : "", link);
      });
      find("downloads").append(item);
    }
  }

  async function follow(job) {
    const shown = new Set();
    for (;;) {
      const state = await answer(`/jobs/${job}`);
      find("progress").value = state.progress;
      find("step").textContent = state.error ? "Refused" : state.step;
      if (state.error) throw new Error(state.error);
      for (const one of state.cases) {
        if (shown.has(one.name)) continue;
        find("results").hidden = false;
        xr2mri.page.add(one.name, one.title, `/jobs/${job}/cases/${one.name}.js`);
        if (!shown.size) xr2mri.page.show(one.name);
        shown.add(one.name);
      }
      listDownloads(job, state.downloads);
      if (state.step === "done") return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    refuse("");
    find("job").hidden = false;
    find("progress").value = 0;
    find("step").textContent = "uploading";
    try {
      const { job } = await answer("/jobs", { method: "POST", body: new FormData(form) });
      jobs.push(job);
      await follow(job);
    } catch (error) {
      find("job").hidden = true;
      refuse(error.message);
    } finally {
      button.disabled = false;
    }
  });

  find("remove").addEventListener("click", async () => {
    await Promise.allSettled(jobs.splice(0).map((job) => answer(`/jobs/${job}`, { method: "DELETE" })));
    location.reload();
  });
})(window.xr2mri);
