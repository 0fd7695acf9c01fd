"use strict";

// Orders two cells: numbers by size, words by the alphabet, what is n/a last whichever way the column is sorted.
function order(a, b, down) {
  if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
  const numbers = !Number.isNaN(Number(a)) && !Number.isNaN(Number(b));
  const found = numbers ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
  return down ? -found : found;
}

// The frame that a looping video shows at a time in seconds of the one clock.
function frameAt(time, frames, fps) {
  const frame = Math.floor(time * fps + 1e-6) % frames;
  return frame < 0 ? frame + frames : frame;
}

// The place within a looping video at a time of the clock, in seconds.
function placeAt(time, frames, fps) {
  const length = frames / fps;
  return ((time % length) + length) % length;
}

// A video this many seconds from the clock jumps, as at the end of its loop; a nearer one plays faster or slower, since
// a jump takes longer than a frame.
const FAR = 0.25;

// How fast a video plays that is some seconds late.
function pace(late) {
  return Math.abs(late) > FAR ? 1 : Math.min(2, Math.max(0.5, 1 + 4 * late));
}

// The keys in which two rows' configurations differ, each with both values.
function differences(keys, left, right) {
  return Object.entries(keys)
    .filter(([, values]) => values[left] !== values[right])
    .map(([key, values]) => [key, values[left], values[right]]);
}

function sortTable(head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  const body = head.closest("table").tBodies[0];
  const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
  const rows = [...body.rows].map((row) => [value(row), row]);
  rows.sort((a, b) => order(a[0], b[0], down));
  for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows.map((pair) => pair[1]));
}

// One clock for all videos: those in view are held within a frame of it.
function startClock() {
  const shown = new Set();
  const play = document.getElementById("play");
  const told = document.getElementById("time");
  let time = 0, running = false, last = 0;

  function facts(video) {
    return [Number(video.dataset.frames), Number(video.dataset.fps)];
  }

  function tell() {
    told.textContent = `${time.toFixed(2)} s`;
  }

  function fetchVideo(video) {
    video.preload = "auto";
    if (video.readyState === 0) video.load();
  }

  function hold(video) {
    const [frames, fps] = facts(video);
    const wanted = placeAt(time, frames, fps);
    if (video.seeking || video.readyState < 1) return;
    const late = wanted - video.currentTime;
    if (Math.abs(late) > FAR) video.currentTime = wanted;
    else if (video.paused && wanted < (frames - 0.5) / fps) video.play().catch(() => {});
    video.playbackRate = pace(late);
  }

  function still(video) {
    const [frames, fps] = facts(video);
    video.pause();
    video.currentTime = (frameAt(time, frames, fps) + 0.5) / fps; // in the middle of a frame, whatever the rounding
  }

  function tick(now) {
    if (!running) return;
    time += (now - last) / 1000;
    last = now;
    shown.forEach(hold);
    tell();
    requestAnimationFrame(tick);
  }

  function run(on) {
    running = on;
    play.textContent = on ? "pause" : "play";
    if (!on) return shown.forEach(still);
    last = performance.now();
    requestAnimationFrame(tick);
  }

  function step(frames) {
    if (running) run(false);
    const [first] = shown;
    const fps = first ? facts(first)[1] : 8;
    time = Math.max(0, (Math.floor(time * fps + 1e-6) + frames) / fps);
    shown.forEach(still);
    tell();
  }

  function show(video) {
    if (video.dataset.poster && !video.poster) video.poster = video.dataset.poster;
    if (!video.src) {
      video.src = video.dataset.src;
      video.addEventListener("loadedmetadata", () => { if (!running && time > 0) still(video); });
    }
    if (running || time > 0) fetchVideo(video);
    shown.add(video);
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        show(target);
      } else if (shown.delete(target)) {
        target.pause();
      }
    }
  }, { rootMargin: "200px" });
  document.querySelectorAll("video").forEach((video) => watcher.observe(video));
  const load = () => shown.forEach(fetchVideo);
  play.addEventListener("click", () => { load(); run(!running); });
  document.getElementById("back").addEventListener("click", () => { load(); step(-1); });
  document.getElementById("forward").addEventListener("click", () => { load(); step(1); });
}

function toggleMotion(button) {
  const screen = button.closest("figure").querySelector(".screen");
  const there = screen.querySelector("img");
  button.setAttribute("aria-pressed", String(!there));
  if (there) return there.remove();
  const image = document.createElement("img");
  image.src = button.dataset.src;
  image.alt = "motion fields of reference and generated video";
  screen.append(image);
}

function filterCases(words) {
  for (const section of document.querySelectorAll(".case")) {
    section.hidden = !section.querySelector("h3").textContent.toLowerCase().includes(words.toLowerCase());
  }
}

function startConfigurations() {
  const left = document.getElementById("left"), right = document.getElementById("right");
  if (!left) return;
  const { names, keys } = JSON.parse(document.getElementById("rows").textContent);
  const table = document.getElementById("difference");
  const line = (cells) => {
    const row = document.createElement("tr");
    for (const words of cells) row.appendChild(document.createElement("td")).textContent = words;
    return row;
  };
  const fill = () => {
    const heads = table.tHead.rows[0].cells;
    heads[1].textContent = names[left.value];
    heads[2].textContent = names[right.value];
    table.tBodies[0].replaceChildren(...differences(keys, left.value, right.value).map(line));
  };
  left.addEventListener("change", fill);
  right.addEventListener("change", fill);
  fill();
}

if (typeof document !== "undefined") {
  document.querySelectorAll(".sortable th button").forEach((button) => {
    button.addEventListener("click", () => sortTable(button.closest("th")));
  });
  document.querySelectorAll("button.motion").forEach((button) => {
    button.addEventListener("click", () => toggleMotion(button));
  });
  document.getElementById("filter").addEventListener("input", (event) => filterCases(event.target.value));
  startClock();
  startConfigurations();
}
