// The report's page: large pictures with their skeletons, motions and clips page by page, and scenes to turn in 3D.
"use strict";
(() => {
  const dialog = document.getElementById("large");
  const stage = dialog.querySelector(".stage");
  const switches = dialog.querySelector(".switches");
  const controls = dialog.querySelector(".controls");
  let stop = () => {};

  function open(title, fill) {
    close();
    dialog.querySelector("h3").textContent = title;
    for (const part of [stage, switches, controls]) part.replaceChildren();
    if (!dialog.open) dialog.showModal();
    fill();
  }

  function close() {
    stop();
    stop = () => {};
  }

  function toggle(name, colour, change) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colour;
    label.append(box, swatch, name);
    box.onchange = () => change(box.checked);
    switches.append(label);
  }

  // ---- large pictures -------------------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  function drawn(skeleton, size) {
    const group = document.createElementNS(SVG, "g");
    const width = size / 110;
    for (const [from, to] of skeleton.bones) {
      const a = skeleton.points[from], b = skeleton.points[to];
      if (!a || !b) continue;
      const line = document.createElementNS(SVG, "line");
      const ends = { x1: a[0], y1: a[1], x2: b[0], y2: b[1], stroke: skeleton.colours[to] };
      for (const [key, value] of Object.entries({ ...ends, "stroke-width": width, "stroke-linecap": "round" })) {
        line.setAttribute(key, value);
      }
      group.append(line);
    }
    return group;
  }

  function showPictures(panels) {
    const groups = {};
    for (const panel of panels) {
      const figure = document.createElement("figure");
      const frame = document.createElement("div");
      frame.className = "framed";
      const picture = Object.assign(new Image(), { alt: panel.caption });
      const svg = document.createElementNS(SVG, "svg");
      picture.onload = () => {
        const [x, y, w, h] = panel.view[2] ? panel.view : [-0.5, -0.5, picture.naturalWidth, picture.naturalHeight];
        svg.setAttribute("viewBox", [x, y, w, h].join(" "));
        for (const skeleton of panel.skeletons) {
          const group = drawn(skeleton, Math.max(w, h));
          if (skeleton.name in groups) (groups[skeleton.name].push(group));
          else {
            groups[skeleton.name] = [group];
            toggle(skeleton.name, skeleton.colours[1], (on) => {
              for (const each of groups[skeleton.name]) each.style.display = on ? "" : "none";
            });
          }
          svg.append(group);
        }
      };
      picture.onerror = () => frame.replaceChildren(`The picture ${panel.file} does not lie beside this page.`);
      picture.src = panel.file;
      frame.append(picture, svg);
      const caption = document.createElement("figcaption");
      caption.textContent = panel.caption;
      figure.append(frame, caption);
      stage.append(figure);
    }
  }

  // ---- 3D -------------------------------------------------------------------------------------------------------

  const UNKNOWN = -32768;

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  }

  function skeletonOf(layer) {
    const joints = layer.colours.length, bones = layer.bones;
    const points = new Int16Array(bytes(layer.points));
    const group = new THREE.Group();
    const material = new THREE.MeshLambertMaterial();
    const sticks = new THREE.InstancedMesh(new THREE.CylinderGeometry(0.022, 0.022, 1, 10), material, bones.length);
    const balls = new THREE.InstancedMesh(new THREE.SphereGeometry(0.032, 12, 10), material, joints);
    const colour = (at) => new THREE.Color(layer.colours[at]);
    bones.forEach(([, to], at) => sticks.setColorAt(at, colour(to)));
    layer.colours.forEach((_, at) => balls.setColorAt(at, colour(at)));
    for (const mesh of [sticks, balls]) mesh.frustumCulled = false;
    group.add(sticks, balls);
    const up = new THREE.Vector3(0, 1, 0), turn = new THREE.Quaternion(), matrix = new THREE.Matrix4();
    const nothing = new THREE.Matrix4().makeScale(0, 0, 0), one = new THREE.Vector3(1, 1, 1);

    function joint(frame, at) {
      const here = 3 * (frame * joints + at);
      if (points[here] === UNKNOWN) return null;
      return new THREE.Vector3(points[here], points[here + 1], points[here + 2]).divideScalar(1000);
    }

    function between(time, at) {
      const frame = Math.min(Math.floor(time), layer.frames - 1), next = Math.min(frame + 1, layer.frames - 1);
      const a = joint(frame, at), b = joint(next, at);
      return a && b ? a.lerp(b, time - frame) : a;
    }

    function show(time) {
      const placed = layer.colours.map((_, at) => between(time, at));
      placed.forEach((place, at) => balls.setMatrixAt(at, place ? matrix.compose(place, turn.identity(), one) : nothing));
      bones.forEach(([from, to], at) => {
        const a = placed[from], b = placed[to];
        if (!a || !b) return sticks.setMatrixAt(at, nothing);
        const along = b.clone().sub(a), length = Math.max(along.length(), 1e-6);
        turn.setFromUnitVectors(up, along.divideScalar(length));
        sticks.setMatrixAt(at, matrix.compose(a.add(b).multiplyScalar(0.5), turn, new THREE.Vector3(1, length, 1)));
      });
      sticks.instanceMatrix.needsUpdate = balls.instanceMatrix.needsUpdate = true;
    }
    show(0);
    return { group, show };
  }

  function surfaceOf(layer) {
    const faces = new Uint16Array(bytes(document.getElementById("faces").textContent));
    const points = Float32Array.from(new Int16Array(bytes(layer.points)), (each) => each / 1000);
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(points, 3));
    geometry.setIndex(new THREE.BufferAttribute(faces, 1));
    geometry.computeVertexNormals();
    const material = new THREE.MeshLambertMaterial({ color: layer.colours[0], transparent: true, opacity: 0.82 });
    const group = new THREE.Group();
    group.add(new THREE.Mesh(geometry, material));
    return { group, show() {} };
  }

  function extent(layers) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (const layer of layers) {
      const points = new Int16Array(bytes(layer.points)), offset = layer.offset || [0, 0, 0];
      for (let at = 0; at < points.length; at++) {
        if (points[at] === UNKNOWN) continue;
        const value = points[at] / 1000 + offset[at % 3];
        low[at % 3] = Math.min(low[at % 3], value);
        high[at % 3] = Math.max(high[at % 3], value);
      }
    }
    return { low, high };
  }

  function showScene(scene) {
    let renderer;
    try {
      renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
    } catch {
      stage.textContent = "This browser shows no 3D: WebGL is switched off.";
      return;
    }
    const world = new THREE.Scene();
    const sun = new THREE.DirectionalLight(0xffffff, 2.2);
    sun.position.set(2, 5, 4);
    world.add(new THREE.HemisphereLight(0xffffff, 0x8899aa, 1.6), sun);
    const { low, high } = extent(scene.layers);
    const middle = new THREE.Vector3(...low.map((value, axis) => (value + high[axis]) / 2));
    const reach = Math.max(...low.map((value, axis) => high[axis] - value), 1);
    const grid = new THREE.GridHelper(Math.ceil(reach) + 2, 2 * (Math.ceil(reach) + 2), 0x8a97a8, 0xb9c3cf);
    grid.position.set(middle.x, low[1] - 0.005, middle.z);
    world.add(grid);
    const layers = scene.layers.map((layer) => {
      const made = layer.kind === "mesh" ? surfaceOf(layer) : skeletonOf(layer);
      made.group.position.set(...(layer.offset || [0, 0, 0]));
      world.add(made.group);
      toggle(layer.name, layer.colours[layer.colours.length > 1 ? 1 : 0], (on) => (made.group.visible = on));
      return { ...made, frames: layer.frames || 1, fps: layer.fps };
    });
    const camera = new THREE.PerspectiveCamera(40, 1, 0.05, 200);
    const orbit = new THREE.OrbitControls(camera, renderer.domElement);
    orbit.target.copy(middle);
    stage.append(renderer.domElement);

    function fit() {
      const width = stage.clientWidth, height = Math.max(240, Math.min(width * 0.75, window.innerHeight * 0.66));
      renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
      renderer.setSize(width, height);
      camera.aspect = width / height;
      camera.updateProjectionMatrix();
    }
    fit();
    const away = (0.58 * reach) / Math.tan((Math.PI / 180) * 20) / Math.min(1, camera.aspect);
    camera.position.copy(middle).add(new THREE.Vector3(0.35, 0.3, 0.9).normalize().multiplyScalar(away + 0.4));

    const moving = layers.filter((layer) => layer.frames > 1);
    let playing = moving.length > 0, seconds = 0, before = null;
    const total = Math.max(0, ...moving.map((layer) => (layer.frames - 1) / layer.fps));
    const slider = document.createElement("input");
    if (moving.length) {
      const button = document.createElement("button");
      const label = () => (button.textContent = playing ? "Pause" : "Play");
      button.onclick = () => ((playing = !playing), label());
      label();
      Object.assign(slider, { type: "range", min: 0, max: total, step: 0.01, value: 0 });
      slider.setAttribute("aria-label", "time");
      slider.oninput = () => ((playing = false), (seconds = Number(slider.value)), label());
      controls.append(button, slider);
    }
    const hint = document.createElement("span");
    hint.className = "soft";
    hint.textContent = "Drag to turn, wheel or two fingers to come nearer.";
    controls.append(hint);

    let frame = requestAnimationFrame(function tick(now) {
      frame = requestAnimationFrame(tick);
      if (playing && before !== null) seconds = (seconds + (now - before) / 1000) % (total + 0.6);
      before = now;
      if (playing) slider.value = Math.min(seconds, total);
      for (const layer of moving) layer.show(Math.min(seconds, total) * layer.fps);
      orbit.update();
      renderer.render(world, camera);
    });
    addEventListener("resize", fit);
    stop = () => {
      cancelAnimationFrame(frame);
      removeEventListener("resize", fit);
      renderer.dispose();
      renderer.forceContextLoss();
    };
  }

  // ---- pages ----------------------------------------------------------------------------------------------------

  window.posesynPage = (name, number, html) => {
    const place = document.querySelector(`[data-pages="${name}"]`);
    place.querySelector(".of-page").innerHTML = html;
    place.dataset.at = number;
    place.querySelector(".place").textContent = `page ${number + 1} of ${place.dataset.count}`;
    place.querySelector(".back").disabled = number === 0;
    place.querySelector(".on").disabled = number === Number(place.dataset.count) - 1;
  };

  function turnPage(place, by) {
    const name = place.dataset.pages, number = Number(place.dataset.at) + by;
    if (!place.first) place.first = place.querySelector(".of-page").innerHTML;
    if (number === 0) return window.posesynPage(name, 0, place.first);
    const script = document.createElement("script");
    script.src = `${place.dataset.files}/${name}-${number}.js`;
    script.onerror = () => {
      place.querySelector(".place").textContent = `${script.src.split("/").slice(-2).join("/")} does not lie beside this page`;
    };
    script.onload = () => script.remove();
    document.head.append(script);
  }

  document.addEventListener("click", (event) => {
    const turn = event.target.closest(".back, .on");
    if (turn) return turnPage(turn.closest("[data-pages]"), turn.classList.contains("on") ? 1 : -1);
    const scene = event.target.closest("[data-scene]");
    if (scene) return open(scene.dataset.title, () => showScene(JSON.parse(scene.dataset.scene)));
    const large = event.target.closest("[data-zoom]");
    if (large) open(large.dataset.title, () => showPictures(JSON.parse(large.dataset.zoom)));
  });
  document.addEventListener("keydown", (event) => {
    const large = event.target.closest && event.target.closest("[data-zoom]");
    if (large && (event.key === "Enter" || event.key === " ")) large.click();
  });
  dialog.addEventListener("close", close);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  // report.html#turn=2 opens the third scene, #large=0 the first large picture.
  const [, kind, number] = location.hash.match(/^#(turn|large)=(\d+)$/) || [];
  if (kind) document.querySelectorAll(kind === "turn" ? "[data-scene]" : "[data-zoom]")[Number(number)]?.click();
})();
